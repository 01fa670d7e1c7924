/* SPDX-License-Identifier: MIT */
/*
 * Errors: functions return 0 or a negated number, either HCALL_E* as a call
 * gave it or one of these.
 */
#ifndef ERROR_H
#define ERROR_H

enum {
	ERR_USAGE = 2000,
	ERR_INPUT_ENDED,
	ERR_CANCELLED,
	ERR_TOO_LONG,
	ERR_NO_FAT16,
	ERR_BLOCK_SIZE,
	ERR_CORRUPT,
	ERR_NOT_FOUND,
	ERR_NOT_DIRECTORY,
	ERR_IS_DIRECTORY,
	ERR_READ_ONLY,
	ERR_BAD_NAME,
	ERR_DISK_FULL,
	ERR_DIRECTORY_FULL,
	ERR_NO_CLOCK,
	ERR_NO_INPUT,
	ERR_NO_NETWORK,
	ERR_LINK_DOWN,
	ERR_NO_ADDRESS,
	ERR_NO_ROUTE,
	ERR_NO_ANSWER,
	ERR_REFUSED,
	ERR_PROTOCOL,
	ERR_NO_CPUS,
	ERR_CPU_DEAD,
};

/* What @error (negative) means, for the user. */
const char *error_text(int error);

#endif /* ERROR_H */
