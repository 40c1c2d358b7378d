// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * Relays RTP of settled streams where frames arrive (XDP). `media::relay::apply` says what may be relayed; this program
 * does the same to what it takes and passes everything else up, where the sockets and `apply` itself take it.
 *
 * What measurement taught (`cargo bench --bench xdp`; a program that swaps two addresses takes 25 ns there, most of it the
 * test run's own loop):
 * - Arrays in one map value need no look-up: an entry is an address, checked by the verifier against its length.
 * - bpf_ktime_get_ns costs 35 ns, bpf_ktime_get_coarse_ns 17, bpf_jiffies64 nothing: it is compiled to a load. So deadlines
 *   and `last` count in ticks, and jitter is measured over one pair of packets in thirty-two.
 * - A call of a helper empties five registers. None is left on the way of a packet that is relayed; a change of tag, which
 *   needs one, comes last and by itself. Pointers kept in registers (`in_register`) were worth a third of the relay's time:
 *   left alone, the compiler works a row's address out again with each use.
 * - A packet that a rule takes is long enough for one check of its whole header, and is UDP without options: everything else
 *   is another function's (`odd4`). Fields of a word that are always read or written together are one load, one store; a
 *   load that is wider than the store before it would wait for the cache.
 * - The changes of both checksums are the same for all packets of a rule; the appliance works them out once.
 * - Counters are the row's, not each CPU's: the packets of a flow come by one queue, and sequence numbers and jitter mean
 *   nothing when they are split. A flow that moves to another CPU between two packets loses nothing; two CPUs in the same
 *   flow within the same nanoseconds may lose one count.
 * - A flow that no cache holds costs one load from memory, for its two lines lie together and are fetched at once: here 110
 *   to 150 ns (`xdp_cold_vs_touch` compares with a program that does nothing else), 4 KiB pages or larger. Fewer instructions
 *   let the processor begin the next packet's load before this one's has come.
 */
#include "relay.h"

/* Arrays of one map value each; the loader decides their length and the verifier checks every access against it. */
extern struct row rows4[];
extern struct row rows6[];
extern struct hop hops[HOPS_MAX];
extern struct totals totals[];
extern const volatile struct constants constants;
extern struct moment moment;
/* Maps: blocked source addresses (IPv6 by their first 64 bits), and the devices that frames may leave by. */
extern char blocked, devices;

#define ETHERTYPE_IPV4 0x0008
#define ETHERTYPE_VLAN 0x0081
#define ETHERTYPE_IPV6 0xdd86
#define PROTOCOL_UDP 17
#define PROTOCOL_FRAGMENT 44
#define TTL_PROTOCOL (64 | PROTOCOL_UDP << 8)
#define FRAGMENT 0xff3f /* net: more fragments, or an offset */
#define CLASS_KEPT 0x3f00 /* net: ECN, and the first bits of the flow label */
#define DROPOUT_MAX 3000  /* RFC 3550 A.1 */
#define MISORDER_MAX 100
#define SAMPLE_MASK 31
#define JIFFIES_SHIFT 6

/* Headers by their octets. Fields are aligned to their size from the IP header on; the frame itself need not be. */
struct ethernet {
	u32 words[3];
	u16 type;
	u16 tag_control;
	u16 tagged_type;
};

struct udp_rtp {
	u32 ports;
	u16 length;
	u16 check;
	u16 rtp;
	u16 sequence;
	u32 timestamp;
	u32 ssrc;
};

struct ipv4 {
	u8 version;
	u8 tos;
	u16 total;
	u16 identification;
	u16 fragment;
	u16 ttl_protocol;
	u16 check;
	u32 source;
	u32 to;
	struct udp_rtp udp;
};

struct ipv6 {
	u16 class;
	u16 flow;
	u16 length;
	u16 next_limit;
	u32 source[4];
	u32 to[4];
	struct udp_rtp udp;
};

#define UDP_LEN 8
#define RTP_LEN 12
#define IPV4_LEN 20
#define IPV6_LEN 40
#define PLAIN_HEAD 14
#define TAGGED_HEAD 18

static always_inline void count(u32 reason)
{
	u32 cpu = bpf_get_smp_processor_id();
	if (cpu < constants.cpus)
		totals[cpu].count[reason]++;
}

/* UDP that no rule took: up it goes, unless its source is blocked. Other protocols are not asked for: the process closes the
 * connections of who is blocked, and whoever administers the host from the same address is not shut out. */
static never_inline int up(u64 source_low, u64 source_high)
{
	u64 key[2] = { source_low, source_high };
	u64 *until = bpf_map_lookup_elem(&blocked, key);
	if (until && *until > bpf_jiffies64()) {
		count(REASON_BLOCKED);
		return XDP_DROP;
	}
	return XDP_PASS;
}

static never_inline int miss(u32 reason, u64 source_low, u64 source_high)
{
	count(reason);
	return up(source_low, source_high);
}

/* No rule lives for this pair, or the port is the odd one. */
static never_inline int unruled(const struct row *row, u32 odd, u64 source_low, u64 source_high)
{
	if (row->state == STATE_CLOSED) {
		count(REASON_CLOSED);
		return XDP_DROP;
	}
	count(odd ? REASON_CONTROL : row->state == STATE_SETTLED ? REASON_EXPIRED : REASON_OPEN);
	return up(source_low, source_high);
}

/* Interarrival jitter (RFC 3550 A.8) over one pair of packets in thirty-two: the exact clock costs as much as the relay. */
static never_inline void measure(struct row *row, u32 sequence, u32 timestamp)
{
	u64 now = bpf_ktime_get_ns();
	if (!(sequence & SAMPLE_MASK)) {
		row->reference_ns = now;
		row->reference_timestamp = timestamp;
		return;
	}
	u64 reference = row->reference_ns;
	if (!reference || !row->ns_per_unit_q8)
		return;
	s64 units = (int)(timestamp - row->reference_timestamp);
	s64 difference = (s64)(now - reference) - (units * (s64)row->ns_per_unit_q8 >> 8);
	if (difference < 0)
		difference = -difference;
	u64 jitter = row->jitter_ns;
	jitter = jitter - (jitter >> 4) + ((u64)difference >> 4);
	if (jitter > 0xffffffff)
		jitter = 0xffffffff;
	row->jitter_ns = jitter;
	if (jitter > row->jitter_ns_max)
		row->jitter_ns_max = jitter;
	row->reference_ns = 0;
}

/* A sequence number that neither follows the one before nor is the same. */
static never_inline void leap(struct row *row, u32 sequence)
{
	if (row->series != row->generation) {
		row->series = row->generation;
		row->highest = sequence;
		return;
	}
	u32 ahead = (sequence - row->highest) & 0xffff;
	if (ahead > 0xffff - MISORDER_MAX) {
		row->late++;
		return;
	}
	if (ahead < DROPOUT_MAX)
		row->gaps++;
	else
		row->skipped += ahead - 1;
	row->highest = sequence;
}

/* `last`, `highest` and `series` are one word of the row, read and written at once. */
static always_inline void note(struct row *row, u32 octets, u32 sequence, const u32 *timestamp, u64 now)
{
	u64 *word = (u64 *)&row->last;
	u32 series = row->generation << 16, before = *word >> 32;

	row->packets++;
	row->octets += octets;
	if (likely(before == (series | ((sequence - 1) & 0xffff)))) {
		*word = (u64)(series | sequence) << 32 | (u32)now;
		if (unlikely((sequence & SAMPLE_MASK) <= 1))
			measure(row, sequence, swap32(*timestamp));
		return;
	}
	*word = (u64)before << 32 | (u32)now;
	row->reference_ns = 0;
	if (before == (series | sequence))
		row->duplicates++;
	else
		leap(row, sequence);
}

static always_inline u32 fold(u32 sum)
{
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 5761: types 192 to 223, of a packet that is no match. */
static always_inline int is_rtcp(u32 rtp)
{
	return (rtp & 0xe000) == 0xc000;
}

/* RFC 1624, on the checksum itself: the sum of two numbers that are not both zero never folds to zero, which would mean that
 * there is none (RFC 768), so all ones need no case of their own. A checksum that is not there stays away. */
static always_inline void correct(struct udp_rtp *udp, u32 change)
{
	u32 check = udp->check;
	if (check)
		udp->check = fold(check + change);
}

static always_inline int verdict(struct xdp_md *ctx, const struct hop *hop)
{
	if (likely(hop->ifindex == ctx->ingress_ifindex))
		return XDP_TX;
	return bpf_redirect_map(&devices, hop->device, XDP_DROP);
}

static always_inline void address(struct ethernet *frame, const struct hop *hop)
{
	*(u64 *)frame = hop->hardware_low;
	frame->words[2] = hop->hardware_high;
}

/* A frame that came with a tag leaves without, or the other way round. Drivers leave at least 192 octets before a frame. */
static never_inline int retag(struct xdp_md *ctx, const struct hop *hop, u32 type)
{
	if (bpf_xdp_adjust_head(ctx, hop->tag ? -4 : 4)) {
		count(REASON_NO_ROOM);
		return XDP_DROP;
	}
	struct ethernet *frame = (void *)(long)ctx->data;
	if ((void *)frame + TAGGED_HEAD > (void *)(long)ctx->data_end)
		return XDP_DROP;
	address(frame, hop);
	if (hop->tag) {
		*(u32 *)&frame->type = hop->tag;
		frame->tagged_type = type;
	} else {
		frame->type = type;
	}
	return verdict(ctx, hop);
}

static always_inline int leave(struct xdp_md *ctx, struct ethernet *frame, const struct hop *hop, const u32 tagged, u32 type)
{
	u32 tag = hop->tag;
	if (unlikely(!tagged != !tag))
		return retag(ctx, hop, type);
	address(frame, hop);
	if (tagged)
		*(u32 *)&frame->type = tag;
	return verdict(ctx, hop);
}

#define KEY4 0, (u64)ip->source << 32 | 0xffff0000
#define KEY6 (u64)ip->source[1] << 32 | ip->source[0], 0

/* A packet that is not whole UDP without options, or too short for RTP: no rule takes it, and this says why. */
static never_inline int odd4(struct ethernet *frame, void *end, u64 now, u32 head)
{
	struct ipv4 *ip = (void *)frame + (head == TAGGED_HEAD ? TAGGED_HEAD : PLAIN_HEAD);

	if ((void *)ip + IPV4_LEN > end || (ip->version & 0xf0) != 0x40 || (ip->version & 0x0f) < 5)
		return XDP_PASS;
	if (ip->ttl_protocol >> 8 != PROTOCOL_UDP)
		return XDP_PASS;
	/* Worked out once: the verifier of Linux 6.1 does not see that a second subtraction has the bound of the first. */
	u32 address = swap32(ip->to) - constants.v4_base;
	if (address >= constants.v4_count)
		return up(KEY4);
	if (ip->version != 0x45 || ip->fragment & FRAGMENT)
		return miss(REASON_UNUSUAL, KEY4);
	if ((void *)ip + IPV4_LEN + UDP_LEN > end)
		return up(KEY4);
	u32 port = swap16(ip->udp.ports >> 16) - constants.port_min;
	if (port >> 1 >= constants.pairs)
		return up(KEY4);
	struct row *row = &rows4[address * constants.pairs + (port >> 1)];
	if (row->deadline <= (u32)(now >> JIFFIES_SHIFT) || port & 1)
		return unruled(row, port & 1, KEY4);
	u32 total = length16(ip->total);
	if (total != swap16(ip->udp.length) + IPV4_LEN || (void *)ip + total > end)
		return miss(REASON_UNUSUAL, KEY4);
	if (ip->source != row->source[3] || ip->udp.ports != row->ports)
		return miss(REASON_SOURCE, KEY4);
	return miss(REASON_NOT_RTP, KEY4);
}

static always_inline int relay4(struct xdp_md *ctx, void *data, void *end, u64 now, const u32 tagged)
{
	struct ethernet *frame = data;
	struct ipv4 *ip = data + (tagged ? TAGGED_HEAD : PLAIN_HEAD);

	if ((void *)(ip + 1) > end)
		return odd4(frame, end, now, tagged ? TAGGED_HEAD : PLAIN_HEAD);
	u32 ttl_protocol = ip->ttl_protocol;
	if (unlikely(ip->version != 0x45 || ttl_protocol >> 8 != PROTOCOL_UDP || ip->fragment & FRAGMENT))
		return odd4(frame, end, now, tagged ? TAGGED_HEAD : PLAIN_HEAD);
	u32 address = swap32(ip->to) - constants.v4_base;
	u32 port = swap16(ip->udp.ports >> 16) - constants.port_min;
	if (address >= constants.v4_count || port >> 1 >= constants.pairs)
		return up(KEY4);
	struct row *row = &rows4[address * constants.pairs + (port >> 1)];
	in_register(row);

	u64 version = *(volatile u64 *)&row->deadline;
	if (unlikely((u32)version <= (u32)(now >> JIFFIES_SHIFT) || port & 1))
		return unruled(row, port & 1, KEY4);
	u32 total = length16(ip->total);
	u32 octets = swap16(ip->udp.length);
	if (total != octets + IPV4_LEN || (void *)ip + total > end)
		return miss(REASON_UNUSUAL, KEY4);
	if (ip->source != row->source[3] || ip->udp.ports != row->ports)
		return miss(REASON_SOURCE, KEY4);
	if (octets < UDP_LEN + RTP_LEN)
		return miss(REASON_NOT_RTP, KEY4);
	u32 other = (ip->udp.rtp ^ row->rtp) & RTP_MASK;
	if (other & 0xff)
		return miss(REASON_NOT_RTP, KEY4);
	if (other | (ip->udp.ssrc ^ row->ssrc))
		return miss(is_rtcp(ip->udp.rtp) ? REASON_NOT_RTP : REASON_STREAM, KEY4);
	struct hop *hop = &hops[row->hop & (HOPS_MAX - 1)];
	in_register(hop);
	if (!hop->ifindex)
		return miss(REASON_NO_HOP, KEY4);
	if (total > hop->mtu)
		return miss(REASON_TOO_BIG, KEY4);
	u64 addresses = *(u64 *)&row->from;
	u32 ports = row->ports_out, changes = *(u32 *)&row->udp_change, dscp = row->dscp;
	barrier();
	u32 sequence = version >> 32;
	if ((sequence ^ row->sequence) | (sequence & 1))
		return miss(REASON_TORN, KEY4);

	u32 word = *(u16 *)ip, rewritten = 0x45 | dscp << 10 | (word & 0x300);
	u32 sum = 3 * 0xffff + TTL_PROTOCOL - ip->check - word - ttl_protocol + rewritten + (changes >> 16);
	*(u16 *)ip = rewritten;
	ip->ttl_protocol = TTL_PROTOCOL;
	ip->check = ~fold(fold(sum));
	*(u64 *)&ip->source = addresses;
	ip->udp.ports = ports;
	correct(&ip->udp, changes & 0xffff);
	note(row, octets - UDP_LEN, swap16(ip->udp.sequence), &ip->udp.timestamp, now);
	return leave(ctx, frame, hop, tagged, ETHERTYPE_IPV4);
}

static always_inline int relay6(struct xdp_md *ctx, void *data, void *end, u64 now, const u32 tagged)
{
	struct ethernet *frame = data;
	struct ipv6 *ip = data + (tagged ? TAGGED_HEAD : PLAIN_HEAD);

	if ((void *)ip + IPV6_LEN > end || (ip->class & 0xf0) != 0x60)
		return XDP_PASS;
	u32 address = swap32(ip->to[3]) - constants.v6_base;
	u32 foreign = (ip->to[0] ^ constants.v6_prefix[0]) | (ip->to[1] ^ constants.v6_prefix[1]) |
		      (ip->to[2] ^ constants.v6_prefix[2]);
	u32 ours = address < constants.v6_count && !foreign, next = ip->next_limit & 0xff;
	if (unlikely(next != PROTOCOL_UDP))
		return next == PROTOCOL_FRAGMENT && ours ? miss(REASON_UNUSUAL, KEY6) : XDP_PASS;
	if (!ours)
		return up(KEY6);
	if ((void *)ip + IPV6_LEN + UDP_LEN > end)
		return up(KEY6);
	u32 port = swap16(ip->udp.ports >> 16) - constants.port_min;
	if (port >> 1 >= constants.pairs)
		return up(KEY6);
	struct row *row = &rows6[address * constants.pairs + (port >> 1)];
	in_register(row);

	u64 version = *(volatile u64 *)&row->deadline;
	if (unlikely((u32)version <= (u32)(now >> JIFFIES_SHIFT) || port & 1))
		return unruled(row, port & 1, KEY6);
	u32 octets = length16(ip->udp.length);
	if (swap16(ip->length) != octets || (void *)ip + IPV6_LEN + octets > end || !ip->udp.check)
		return miss(REASON_UNUSUAL, KEY6);
	u32 source = (ip->source[0] ^ row->source[0]) | (ip->source[1] ^ row->source[1]) |
		     (ip->source[2] ^ row->source[2]) | (ip->source[3] ^ row->source[3]);
	if (source | (ip->udp.ports ^ row->ports))
		return miss(REASON_SOURCE, KEY6);
	if (octets < UDP_LEN + RTP_LEN || (void *)(ip + 1) > end)
		return miss(REASON_NOT_RTP, KEY6);
	u32 other = (ip->udp.rtp ^ row->rtp) & RTP_MASK;
	if (other & 0xff)
		return miss(REASON_NOT_RTP, KEY6);
	if (other | (ip->udp.ssrc ^ row->ssrc))
		return miss(is_rtcp(ip->udp.rtp) ? REASON_NOT_RTP : REASON_STREAM, KEY6);
	struct hop *hop = &hops[row->hop & (HOPS_MAX - 1)];
	in_register(hop);
	if (!hop->ifindex)
		return miss(REASON_NO_HOP, KEY6);
	if (octets + IPV6_LEN > hop->mtu)
		return miss(REASON_TOO_BIG, KEY6);
	u32 ports = row->ports_out, from = row->from, dscp = row->dscp, change = row->udp_change;
	u32 to0 = row->to[0], to1 = row->to[1], to2 = row->to[2], to3 = row->to[3];
	barrier();
	if (version >> 32 != row->sequence || version & 1ull << 32)
		return miss(REASON_TORN, KEY6);

	ip->class = (ip->class & CLASS_KEPT) | 0x60 | dscp >> 2 | (dscp & 3) << 14;
	ip->next_limit = PROTOCOL_UDP | 64 << 8;
	ip->source[0] = constants.v6_prefix[0];
	ip->source[1] = constants.v6_prefix[1];
	ip->source[2] = constants.v6_prefix[2];
	ip->source[3] = from;
	ip->to[0] = to0;
	ip->to[1] = to1;
	ip->to[2] = to2;
	ip->to[3] = to3;
	ip->udp.ports = ports;
	correct(&ip->udp, change);
	note(row, octets - UDP_LEN, swap16(ip->udp.sequence), &ip->udp.timestamp, now);
	return leave(ctx, frame, hop, tagged, ETHERTYPE_IPV6);
}

SECTION("xdp") int relay(struct xdp_md *ctx)
{
	u64 now = bpf_jiffies64();
	void *end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;
	struct ethernet *frame = data;

	if (data + PLAIN_HEAD > end)
		return XDP_PASS;
	if (likely(frame->type == ETHERTYPE_IPV4))
		return relay4(ctx, data, end, now, 0);
	if (frame->type == ETHERTYPE_IPV6)
		return relay6(ctx, data, end, now, 0);
	if (frame->type != ETHERTYPE_VLAN || data + TAGGED_HEAD > end)
		return XDP_PASS;
	if (frame->tagged_type == ETHERTYPE_IPV4)
		return relay4(ctx, data, end, now, 1);
	if (frame->tagged_type == ETHERTYPE_IPV6)
		return relay6(ctx, data, end, now, 1);
	return XDP_PASS;
}

/* Run once when it is loaded, so that the appliance knows what the kernel's ticks are on its own clock. */
SECTION("xdp") int clock(struct xdp_md *ctx __attribute__((unused)))
{
	moment.jiffies = bpf_jiffies64();
	moment.ns = bpf_ktime_get_ns();
	return XDP_PASS;
}

SECTION("license") const char license_text[] = "Dual MIT/GPL";
