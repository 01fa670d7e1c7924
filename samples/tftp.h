/* SPDX-License-Identifier: MIT */
/*
 * TFTP: get a file from a server (RFC 1350), in blocks as large as our frames
 * (RFC 2348), several for each acknowledgement (RFC 7440), and with its size
 * told first (RFC 2349), if the server can do that.
 */
#ifndef TFTP_H
#define TFTP_H

#include <stdint.h>

/*
 * Takes the next part of the file.  @file_bytes: the size of all of it; 0: the
 * server does not tell.  An error ends the transfer.
 */
typedef int tftp_put(const void *data, uint32_t bytes, uint64_t file_bytes);

/* Gets the file @name from the server at @address. */
int tftp_get(uint32_t address, const char *name, tftp_put *put);

#endif /* TFTP_H */
