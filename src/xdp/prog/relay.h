/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
 *
 * The memory that the program and the appliance share. `src/xdp/layout.rs` holds the same shapes; its tests compare the
 * offsets. Everything here is an array in one map value, so that an entry is an address and not a helper call.
 *
 * A row belongs to one pair of ports of one of our addresses:
 *
 *   row = (address - base) * pairs + (port - port_min) / 2      one array for each family
 *
 * Its first cache line is written by the appliance only, and holds all that decides about a packet. Its second line is
 * what the program counts, and four fields that only the appliance writes. Fields marked `net` are octets as they stand in
 * a packet.
 */
#pragma once
#include "kernel.h"

/* Where a pair of ports stands. The rule of a pair that is not SETTLED has deadline 0. */
enum state {
	STATE_CLOSED = 0,  /* nobody's: what comes is dropped */
	STATE_OPEN = 1,    /* a stream's, relayed by sockets: everything goes up */
	STATE_SETTLED = 2, /* what the rule covers is relayed here */
};

/* Why a packet was not relayed; an index into struct totals. */
enum reason {
	REASON_CLOSED,    /* dropped: a port of the range that nobody has open */
	REASON_BLOCKED,   /* dropped: from a blocked source */
	REASON_OPEN,      /* up: the stream is relayed by sockets */
	REASON_CONTROL,   /* up: an odd port, RTCP */
	REASON_EXPIRED,   /* up: the rule's time is over, the process that wrote it is dead or stuck */
	REASON_SOURCE,    /* up: not from the party that the rule is for */
	REASON_NOT_RTP,   /* up: too short for RTP, another version, RTCP */
	REASON_STREAM,    /* up: another payload type (telephone events) or synchronisation source */
	REASON_NO_HOP,    /* up: the next hop's address is not known or not fresh */
	REASON_TOO_BIG,   /* up: larger than the way out takes */
	REASON_UNUSUAL,   /* up: a fragment, options, lengths that differ, IPv6 without a checksum */
	REASON_TORN,      /* up: the rule was being written */
	REASON_NO_ROOM,   /* dropped: no room before the frame for a VLAN tag */
	REASONS,
};
#define REASONS_MAX 16

struct row {
	u32 deadline; /* in units of 64 jiffies; 0 = no rule */
	u32 sequence; /* odd while the appliance writes */
	u32 ssrc;     /* net */
	u16 rtp;      /* net: the first two octets of a packet that matches, under RTP_MASK */
	u16 hop;      /* index of the next hop */
	u32 ports;    /* net: source and destination port of a packet that comes */
	u32 ports_out;  /* net: of a packet that goes */
	u32 source[4];  /* net: IPv4 in the last word */
	u32 from;       /* net: the last 32 bits of the address it leaves by */
	u32 to[4];      /* net: IPv4 in the first word, so that both addresses are one store */
	u16 udp_change; /* what the rewriting adds to the UDP checksum */
	u16 ip_change;  /* what it adds to the complement of IPv4's header checksum, TTL and DSCP apart */

	u32 packets; /* these count for ever, modulo their width */
	u32 octets;  /* of RTP */
	u32 last;    /* when, in jiffies */
	u16 highest; /* sequence number */
	u16 series;  /* the generation that `highest` belongs to */
	u32 duplicates;
	u32 late;
	u32 gaps;
	u32 skipped;
	u32 jitter_ns;
	u32 jitter_ns_max;
	u64 reference_ns; /* of the packet that jitter is measured against; 0 = none */
	u32 reference_timestamp;
	u32 ns_per_unit_q8; /* of the RTP clock; 0 leaves jitter alone */
	u16 generation;     /* another rule, another series */
	u8 state;
	u8 dscp;
	u32 spare;
} __attribute__((aligned(128)));

/* Version and payload type: what of a packet's first two octets a rule fixes. */
#define RTP_MASK 0x7fc0

/* A neighbour on a device. The next hop's hardware address changes by one store of `hardware_low`. */
struct hop {
	u64 hardware_low;  /* net: the next hop's address and the first two octets of ours */
	u32 hardware_high; /* net: the rest of ours */
	u32 ifindex;       /* of the device that sends; 0 = not known or not fresh; highest bit: redirect to it, never transmit */
	u32 tag;           /* net: the VLAN tag with its type; 0 = none */
	u16 mtu;
	u16 device; /* index into the map of devices */
	u64 spare;
};
#define HOPS_MAX 4096

/* Fixed when the program is loaded: to the verifier they are numbers. */
struct constants {
	u32 v4_base;      /* our first IPv4 address as a number */
	u32 v4_count;     /* so many, one after the other; 0 = none */
	u32 v6_prefix[3]; /* net: the first 96 bits of all our IPv6 addresses */
	u32 v6_base;      /* the last 32 of the first one, as a number */
	u32 v6_count;
	u32 port_min; /* even */
	u32 pairs;
	u32 cpus;
	u32 spare[2];
};

/* One row for each CPU. */
struct totals {
	u64 count[REASONS_MAX];
};

/* What bpf_jiffies64 and bpf_ktime_get_ns said at one moment. */
struct moment {
	u64 jiffies;
	u64 ns;
};
