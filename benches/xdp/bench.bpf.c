// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * What the relay is measured against: a program that swaps the hardware addresses and transmits; and one that also asks a
 * flow's row whether it lives and counts the packet there, the least that anything with a memory of flows does. Before
 * each, so that it sees a new packet with each run, stands `rotate`: the packet of the next flow, with the next sequence
 * number.
 */
#include "../../src/xdp/prog/relay.h"

struct flow {
	u32 to;    /* net */
	u32 ports; /* net */
};

struct rotation {
	u32 next;
	u32 count;
	u32 source;   /* net */
	u32 sequence; /* of this round */
};

extern struct flow flows[100000];
extern struct rotation rotation;
extern struct row rows4[];
extern const volatile struct constants constants;
extern char programs;

static always_inline int swapped(void *data)
{
	u32 to = *(u32 *)data, from = *(u32 *)(data + 6);
	u16 to_rest = *(u16 *)(data + 4), from_rest = *(u16 *)(data + 10);
	*(u32 *)data = from;
	*(u16 *)(data + 4) = from_rest;
	*(u32 *)(data + 6) = to;
	*(u16 *)(data + 10) = to_rest;
	return XDP_TX;
}

SECTION("xdp") int swap(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;

	if (data + 14 > end)
		return XDP_PASS;
	return swapped(data);
}

SECTION("xdp") int touch(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;

	if (data + 54 > end)
		return XDP_PASS;
	u32 address = swap32(*(u32 *)(data + 30)) - constants.v4_base;
	u32 pair = (swap16(*(u16 *)(data + 36)) - constants.port_min) >> 1;
	if (address >= constants.v4_count || pair >= constants.pairs)
		return XDP_PASS;
	struct row *row = &rows4[address * constants.pairs + pair];
	in_register(row);
	if (!row->deadline)
		return XDP_PASS;
	row->packets++;
	return swapped(data);
}

SECTION("xdp") int rotate(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;
	u32 next = rotation.next;

	if (data + 54 > end || next >= 100000)
		return XDP_ABORTED;
	*(u32 *)(data + 26) = rotation.source;
	*(u32 *)(data + 30) = flows[next].to;
	*(u32 *)(data + 34) = flows[next].ports;
	*(u16 *)(data + 44) = swap16(rotation.sequence);
	*(u32 *)(data + 46) = swap32(rotation.sequence * 160);
	next++;
	if (next == rotation.count) {
		next = 0;
		rotation.sequence++;
	}
	rotation.next = next;
	bpf_tail_call(ctx, &programs, 0);
	return XDP_ABORTED;
}

SECTION("license") const char license_text[] = "Dual MIT/GPL";
