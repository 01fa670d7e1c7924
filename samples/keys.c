// SPDX-License-Identifier: MIT
/*
 * The keys of an input device.  Its events are those of Linux: the code of a
 * key says where it is, and the name of most is what a US keyboard has there.
 */
#include "keys.h"
#include "clock.h"
#include "console.h"
#include "error.h"
#include "event.h"
#include "hcall_call.h"
#include "line.h"
#include "string.h"

/* Of Linux's input-event-codes.h. */
#define EV_SYN	    0
#define EV_KEY	    1
#define SYN_DROPPED 3
#define KEY_ESC	    1
#define KEY_Q	    16

static const char *const names[] = {
	[1] = "Esc",	     [2] = "1",		  [3] = "2",
	[4] = "3",	     [5] = "4",		  [6] = "5",
	[7] = "6",	     [8] = "7",		  [9] = "8",
	[10] = "9",	     [11] = "0",	  [12] = "-",
	[13] = "=",	     [14] = "Backspace",  [15] = "Tab",
	[16] = "q",	     [17] = "w",	  [18] = "e",
	[19] = "r",	     [20] = "t",	  [21] = "y",
	[22] = "u",	     [23] = "i",	  [24] = "o",
	[25] = "p",	     [26] = "[",	  [27] = "]",
	[28] = "Enter",	     [29] = "Left Ctrl",  [30] = "a",
	[31] = "s",	     [32] = "d",	  [33] = "f",
	[34] = "g",	     [35] = "h",	  [36] = "j",
	[37] = "k",	     [38] = "l",	  [39] = ";",
	[40] = "'",	     [41] = "`",	  [42] = "Left Shift",
	[43] = "\\",	     [44] = "z",	  [45] = "x",
	[46] = "c",	     [47] = "v",	  [48] = "b",
	[49] = "n",	     [50] = "m",	  [51] = ",",
	[52] = ".",	     [53] = "/",	  [54] = "Right Shift",
	[56] = "Left Alt",   [57] = "Space",	  [58] = "Caps Lock",
	[59] = "F1",	     [60] = "F2",	  [61] = "F3",
	[62] = "F4",	     [63] = "F5",	  [64] = "F6",
	[65] = "F7",	     [66] = "F8",	  [67] = "F9",
	[68] = "F10",	     [87] = "F11",	  [88] = "F12",
	[97] = "Right Ctrl", [100] = "Right Alt", [102] = "Home",
	[103] = "Up",	     [104] = "Page Up",	  [105] = "Left",
	[106] = "Right",     [107] = "End",	  [108] = "Down",
	[109] = "Page Down", [110] = "Insert",	  [111] = "Delete",
};

static int find_device(struct hcall_device *device)
{
	uint32_t i;

	for (i = 0;; i++) {
		int64_t n = hcall_device(i, (uintptr_t)device, sizeof(*device));

		if (n < 0)
			return n == -HCALL_ENODEV ? -ERR_NO_INPUT : (int)n;
		if (device->class_id == HCALL_CLASS_INPUT)
			return 0;
	}
}

/* Return: was that the end? */
static bool show(const struct hcall_input_event *event)
{
	static const char *const actions[] = { "released", "pressed",
					       "repeated" };

	if (event->type == EV_SYN && event->code == SYN_DROPPED)
		print("(events were lost)\n");
	if (event->type != EV_KEY || event->value > 2)
		return false;
	if (event->code < sizeof(names) / sizeof(names[0]) &&
	    names[event->code])
		print("%s %s\n", names[event->code], actions[event->value]);
	else
		print("key %u %s\n", event->code, actions[event->value]);
	return event->value == 1 &&
	       (event->code == KEY_ESC || event->code == KEY_Q);
}

int keys_show(void)
{
	struct hcall_input_event events[HCALL_INPUT_MAX_EVENTS];
	struct hcall_device device;
	int error = find_device(&device);

	if (error)
		return error;
	print("Keys of %s; Esc or q to end.\n", device.name);
	while (!error) {
		int64_t n =
			hcall_input_read(device.unit, (uintptr_t)events,
					 HCALL_INPUT_MAX_EVENTS, HCALL_NOWAIT);
		int64_t i;

		for (i = 0; i < n && i < HCALL_INPUT_MAX_EVENTS; i++)
			if (show(&events[i]))
				return 0;
		if (n == -HCALL_EAGAIN)
			error = line_cancelled() ? -ERR_CANCELLED
						 : event_idle(CLOCK_NEVER);
		else if (n < 0 && n != -HCALL_EINTR)
			error = (int)n;
	}
	return error;
}
