/* SPDX-License-Identifier: GPL-2.0 */
#ifndef HCALLLAT_H
#define HCALLLAT_H

#include <linux/types.h>

/* Values of a key's field that is not told apart, or is not there. */
#define LAT_ALL	    0xffffffff
#define LAT_NONE    0xfffffffe

/* Bucket i has calls of 2^i to 2^(i+1)-1 ns, the first also those of 0 ns. */
#define LAT_BUCKETS 40

/**
 * struct lat_key - calls that are counted together; LAT_ALL: of all
 * @vm:       which
 * @class_id: HCALL_CLASS_*, LAT_NONE: those that nobody has
 * @function: its number in the class, LAT_NONE: those that nobody has
 * @unit:     of the device, LAT_NONE: of no device
 */
struct lat_key {
	__u32 vm;
	__u32 class_id;
	__u32 function;
	__u32 unit;
};

/* What there was of them, on one CPU. */
struct lat_counts {
	__u64 errors;
	__u64 total_ns;
	__u64 buckets[LAT_BUCKETS];
};

#endif
