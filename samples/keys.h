/* SPDX-License-Identifier: MIT */
/* The keys of an input device. */
#ifndef KEYS_H
#define KEYS_H

/*
 * Shows each key of the first input device as it is pressed and released, until
 * Esc or q is pressed there, or Ctrl-C is typed on the console.
 */
int keys_show(void);

#endif /* KEYS_H */
