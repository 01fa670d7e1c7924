/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What hcallguard's program and its loader share.
 */
#ifndef HCALLGUARD_H
#define HCALLGUARD_H

#define GUARD_MAX_RULES 128
#define GUARD_MAX_RATES 16
#define GUARD_MAX_VMS	1024

/* Instead of a class or a function: every one. */
#define GUARD_ALL	256

/*
 * Credit is counted in billionths, so that what a nanosecond adds is a whole
 * number: the rate.  A burst has to leave room for a debt and for what is added.
 */
#define GUARD_CREDIT	1000000000ll
#define GUARD_MAX_BURST 4000000000ull
#define GUARD_MAX_RATE	1000000000000ull
#define GUARD_LIMIT	(1ll << 62)

/**
 * struct guard_match - which calls
 * @class_id:    HCALL_CLASS_*, or GUARD_ALL
 * @function:    its number in the class, or GUARD_ALL
 * @has_unit:    only those for device @unit
 * @has_sectors: only those for sectors from @first to @last
 */
struct guard_match {
	__u32 class_id;
	__u32 function;
	__u32 has_unit;
	__u32 has_sectors;
	__u64 unit;
	__u64 first;
	__u64 last;
};

/**
 * struct guard_rule - a line with allow or deny; the first one that matches counts
 * @match: which calls
 * @error: what they get, a negated HCALL_E*; 0: they are allowed
 */
struct guard_rule {
	struct guard_match match;
	__s32 error;
};

/**
 * struct guard_rate - a line with rate; all that match count
 * @match:      which calls
 * @error:      what they get while there is no credit, a negated HCALL_E*
 * @bytes:      1: of bytes, 0: of calls
 * @per_second: so many
 * @burst:      so many at once, after a pause
 * @max_ns:     in this time not more than GUARD_LIMIT comes together
 */
struct guard_rate {
	struct guard_match match;
	__s32 error;
	__u32 bytes;
	__u64 per_second;
	__u64 burst;
	__u64 max_ns;
};

/* struct guard_event.rule: that of a rate is GUARD_MAX_RULES more. */
#define GUARD_NO_ROOM \
	(GUARD_MAX_RULES + GUARD_MAX_RATES) /* more than GUARD_MAX_VMS */
#define GUARD_REASONS (GUARD_NO_ROOM + 1)

/* A call that was denied. */
struct guard_event {
	__u32 vm;
	__u32 nr;
	__u32 rule;
	__s32 error;
	__u32 door;
	__u32 reserved;
	__u64 args[4];
};

#endif
