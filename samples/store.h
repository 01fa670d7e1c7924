/* SPDX-License-Identifier: MIT */
/*
 * A class of calls that is no part of the ABI: bpf/examples/add.bpf.c adds it to
 * a host.  Numbers are kept under keys, for all guests.
 */
#ifndef STORE_H
#define STORE_H

#include "hcall.h"

#define STORE_CLASS 0xe0

/* key, value below 2^63.  Result: 0; -HCALL_EINVAL; -HCALL_ENOSPC. */
#define STORE_PUT   HCALL_NR(STORE_CLASS, 0)

/* key.  Result: its value; -HCALL_EAGAIN: nobody has put one. */
#define STORE_GET   HCALL_NR(STORE_CLASS, 1)

#endif
