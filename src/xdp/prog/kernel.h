/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
 *
 * What the programs need of the kernel's interface (linux/bpf.h, linux/if_ether.h), written out so that the object depends
 * on no installed header and comes out the same everywhere. Numbers of helpers and layouts of contexts never change.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed long long s64;

/* The object is loaded on little-endian hosts only (x86-64, arm64); `u16`, `u32` read from a packet are its octets. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "build with -target bpfel"
#endif

#define SECTION(name) __attribute__((section(name), used))
#define always_inline inline __attribute__((always_inline))
#define never_inline __attribute__((noinline))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
/* Memory may have changed: nothing read before is read again, nothing read after was read before. */
#define barrier() asm volatile("" ::: "memory")
/* An address that is not worked out again with each use. */
#define in_register(pointer) asm volatile("" : "+r"(pointer))
#define swap16(value) ((u16)__builtin_bswap16(value))
#define swap32(value) __builtin_bswap32(value)

/* A length from a packet, that an address may be moved by: to the verifier of Linux 6.1 the result of a swap is any number. */
static always_inline u32 length16(u16 value)
{
	u32 swapped = swap16(value);
	in_register(swapped);
	return swapped & 0xffff;
}

enum xdp_action { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int by) = (void *)44;
static long (*bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static u64 (*bpf_jiffies64)(void) = (void *)118;
