// SPDX-License-Identifier: GPL-2.0
/*
 * From the bytes that a terminal sends to the keys of a US keyboard: which key
 * makes which character, and the escape sequences of xterm, VT220 and the Linux
 * console.
 */
#include <linux/input-event-codes.h>
#include <stddef.h>

#include "hvrun.h"

#define ESC   0x1b
#define SHIFT KEYS_SHIFT
#define CTRL  KEYS_CTRL
#define ALT   KEYS_ALT

struct key {
	uint16_t code; /* 0: no key makes this */
	uint8_t modifiers;
};

/* A key with two characters, and a letter, which has Ctrl too. */
#define KEY(lower, upper, key) [lower] = { key, 0 }, [upper] = { key, SHIFT }
#define LETTER(lower, upper, key) \
	KEY(lower, upper, key), [(upper) - '@'] = { key, CTRL }

/* clang-format off */
static const struct key characters[128] = {
	KEY('1', '!', KEY_1), KEY('2', '@', KEY_2), KEY('3', '#', KEY_3),
	KEY('4', '$', KEY_4), KEY('5', '%', KEY_5), KEY('6', '^', KEY_6),
	KEY('7', '&', KEY_7), KEY('8', '*', KEY_8), KEY('9', '(', KEY_9),
	KEY('0', ')', KEY_0),
	KEY('-', '_', KEY_MINUS), KEY('=', '+', KEY_EQUAL),

	LETTER('q', 'Q', KEY_Q), LETTER('w', 'W', KEY_W), LETTER('e', 'E', KEY_E),
	LETTER('r', 'R', KEY_R), LETTER('t', 'T', KEY_T), LETTER('y', 'Y', KEY_Y),
	LETTER('u', 'U', KEY_U), LETTER('o', 'O', KEY_O), LETTER('p', 'P', KEY_P),
	KEY('[', '{', KEY_LEFTBRACE), KEY(']', '}', KEY_RIGHTBRACE),
	KEY('\\', '|', KEY_BACKSLASH),

	LETTER('a', 'A', KEY_A), LETTER('s', 'S', KEY_S), LETTER('d', 'D', KEY_D),
	LETTER('f', 'F', KEY_F), LETTER('g', 'G', KEY_G), LETTER('k', 'K', KEY_K),
	LETTER('l', 'L', KEY_L),
	KEY(';', ':', KEY_SEMICOLON), KEY('\'', '"', KEY_APOSTROPHE),

	LETTER('z', 'Z', KEY_Z), LETTER('x', 'X', KEY_X), LETTER('c', 'C', KEY_C),
	LETTER('v', 'V', KEY_V), LETTER('b', 'B', KEY_B), LETTER('n', 'N', KEY_N),
	KEY(',', '<', KEY_COMMA), KEY('.', '>', KEY_DOT), KEY('/', '?', KEY_SLASH),
	KEY('`', '~', KEY_GRAVE),
	[' '] = { KEY_SPACE, 0 },

	/* With Ctrl these four are keys of their own. */
	KEY('h', 'H', KEY_H), KEY('i', 'I', KEY_I), KEY('j', 'J', KEY_J),
	KEY('m', 'M', KEY_M),
	['\b'] = { KEY_BACKSPACE, 0 }, [0x7f] = { KEY_BACKSPACE, 0 },
	['\t'] = { KEY_TAB, 0 },
	['\n'] = { KEY_ENTER, 0 }, ['\r'] = { KEY_ENTER, 0 },

	/* Ctrl with something else than a letter; ESC begins a sequence. */
	[0x00] = { KEY_SPACE, CTRL },
	[0x1c] = { KEY_BACKSLASH, CTRL }, [0x1d] = { KEY_RIGHTBRACE, CTRL },
	[0x1e] = { KEY_6, CTRL }, [0x1f] = { KEY_MINUS, CTRL },
};

/* ESC [ letter, ESC O letter, ESC [ 1 ; modifiers letter */
static const struct key letters[128] = {
	['A'] = { KEY_UP, 0 }, ['B'] = { KEY_DOWN, 0 },
	['C'] = { KEY_RIGHT, 0 }, ['D'] = { KEY_LEFT, 0 },
	['H'] = { KEY_HOME, 0 }, ['F'] = { KEY_END, 0 },
	['P'] = { KEY_F1, 0 }, ['Q'] = { KEY_F2, 0 },
	['R'] = { KEY_F3, 0 }, ['S'] = { KEY_F4, 0 },
	['Z'] = { KEY_TAB, SHIFT },
};

/* ESC [ number ~, ESC [ number ; modifiers ~ */
static const struct key numbers[25] = {
	[1] = { KEY_HOME, 0 }, [2] = { KEY_INSERT, 0 }, [3] = { KEY_DELETE, 0 },
	[4] = { KEY_END, 0 }, [5] = { KEY_PAGEUP, 0 }, [6] = { KEY_PAGEDOWN, 0 },
	[7] = { KEY_HOME, 0 }, [8] = { KEY_END, 0 },
	[11] = { KEY_F1, 0 }, [12] = { KEY_F2, 0 }, [13] = { KEY_F3, 0 },
	[14] = { KEY_F4, 0 }, [15] = { KEY_F5, 0 }, [17] = { KEY_F6, 0 },
	[18] = { KEY_F7, 0 }, [19] = { KEY_F8, 0 }, [20] = { KEY_F9, 0 },
	[21] = { KEY_F10, 0 }, [23] = { KEY_F11, 0 }, [24] = { KEY_F12, 0 },
};

/* ESC [ [ letter: the Linux console's own */
static const struct key linux_letters[128] = {
	['A'] = { KEY_F1, 0 }, ['B'] = { KEY_F2, 0 }, ['C'] = { KEY_F3, 0 },
	['D'] = { KEY_F4, 0 }, ['E'] = { KEY_F5, 0 },
};

/* In the order in which they are pressed. */
static const struct {
	uint16_t code;
	uint8_t modifier;
} modifiers[] = {
	{ KEY_LEFTCTRL, CTRL }, { KEY_LEFTALT, ALT }, { KEY_LEFTSHIFT, SHIFT },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void mark(uint8_t *bits, const struct key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].code)
			bits[keys[i].code / 8] |= 1 << keys[i].code % 8;
}

void keys_codes(uint8_t *bits)
{
	const struct key esc = { KEY_ESC, 0 };

	mark(bits, characters, COUNT(characters));
	mark(bits, letters, COUNT(letters));
	mark(bits, numbers, COUNT(numbers));
	mark(bits, linux_letters, COUNT(linux_letters));
	mark(bits, &esc, 1);
	for (size_t i = 0; i < COUNT(modifiers); i++)
		mark(bits, &(struct key){ modifiers[i].code, 0 }, 1);
}

/* ---- Bytes to keystrokes ------------------------------------------------- */

static bool look_up(const struct key *table, size_t entries, unsigned int index,
		    unsigned int more_modifiers, struct keystroke *stroke)
{
	if (index >= entries || !table[index].code)
		return false;
	stroke->code = table[index].code;
	stroke->modifiers = table[index].modifiers | more_modifiers;
	return true;
}

/* The number of a sequence is 1 more than a sum: 1 shift, 2 alt, 4 ctrl. */
static unsigned int sequence_modifiers(unsigned int number)
{
	unsigned int sum = number ? number - 1 : 0;

	return (sum & 1 ? SHIFT : 0) | (sum & 2 ? ALT : 0) |
	       (sum & 4 ? CTRL : 0);
}

static bool in_sequence(struct key_decoder *d, uint8_t byte,
			struct keystroke *stroke)
{
	unsigned int held = sequence_modifiers(d->number[1]);

	if (byte >= '0' && byte <= '9') {
		unsigned int *n = &d->number[d->semicolon];

		if (*n < 1000)
			*n = *n * 10 + (byte - '0');
		return false;
	}
	if (byte == ';') {
		d->semicolon = true;
		return false;
	}
	if (byte >= 0x20 && byte < 0x40)
		return false; /* something that no key of ours has */
	d->state = KEYS_PLAIN;
	if (byte == '~')
		return look_up(numbers, COUNT(numbers), d->number[0], held,
			       stroke);
	return look_up(letters, COUNT(letters), byte, held, stroke);
}

bool keys_decode(struct key_decoder *d, uint8_t byte, struct keystroke *stroke)
{
	enum key_state before = d->state;

	if (byte == ESC) {
		*d = (struct key_decoder){ .state = KEYS_ESC };
		*stroke = (struct keystroke){ .code = KEY_ESC };
		return before == KEYS_ESC; /* the one before was alone */
	}
	switch (before) {
	case KEYS_ESC:
		if (byte == '[' || byte == 'O') {
			d->state = byte == '[' ? KEYS_CSI_START : KEYS_SS3;
			return false;
		}
		d->state = KEYS_PLAIN;
		return look_up(characters, COUNT(characters), byte, ALT,
			       stroke);
	case KEYS_CSI_START:
		d->state = byte == '[' ? KEYS_LINUX : KEYS_CSI;
		return byte == '[' ? false : in_sequence(d, byte, stroke);
	case KEYS_CSI:
	case KEYS_SS3:
		return in_sequence(d, byte, stroke);
	case KEYS_LINUX:
		d->state = KEYS_PLAIN;
		return look_up(linux_letters, COUNT(linux_letters), byte, 0,
			       stroke);
	default:
		return look_up(characters, COUNT(characters), byte, 0, stroke);
	}
}

bool keys_waiting(const struct key_decoder *d)
{
	return d->state != KEYS_PLAIN;
}

bool keys_timeout(struct key_decoder *d, struct keystroke *stroke)
{
	enum key_state before = d->state;

	d->state = KEYS_PLAIN;
	switch (before) {
	case KEYS_ESC:
		*stroke = (struct keystroke){ .code = KEY_ESC };
		return true;
	case KEYS_CSI_START:
		return look_up(characters, COUNT(characters), '[', ALT, stroke);
	case KEYS_SS3:
		return look_up(characters, COUNT(characters), 'O', ALT, stroke);
	default:
		return false; /* half a sequence is nothing */
	}
}

/* ---- Keystrokes to events ------------------------------------------------ */

static unsigned int put_event(struct hcall_input_event *events, uint16_t code,
			      uint32_t value)
{
	events[0] = (struct hcall_input_event){ EV_KEY, code, value };
	events[1] = (struct hcall_input_event){ EV_SYN, SYN_REPORT, 0 };
	return 2;
}

unsigned int keys_events(const struct keystroke *stroke,
			 struct hcall_input_event *events)
{
	unsigned int n = 0;

	for (size_t i = 0; i < COUNT(modifiers); i++)
		if (stroke->modifiers & modifiers[i].modifier)
			n += put_event(events + n, modifiers[i].code, 1);
	n += put_event(events + n, stroke->code, 1);
	n += put_event(events + n, stroke->code, 0);
	for (size_t i = COUNT(modifiers); i--;)
		if (stroke->modifiers & modifiers[i].modifier)
			n += put_event(events + n, modifiers[i].code, 0);
	return n;
}
