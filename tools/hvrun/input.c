// SPDX-License-Identifier: GPL-2.0
/*
 * Input devices: an evdev device of the host's, of which libevdev says what it
 * has, or the keyboard that our stdin types on.
 */
#include <errno.h>
#include <fcntl.h>
#include <libevdev-1.0/libevdev/libevdev.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "hvrun.h"
#include "linux/kvm_hcall.h"

#define RELEASE_TIMEOUT_MS 2000
#define RELEASE_STEP_MS	   10

/* ---- The option ---------------------------------------------------------- */

#define FORM		   "an input device is NAME=evdev:PATH[,grab] or NAME=stdio"

const char *input_parse(const char *spec, struct input **list)
{
	struct input *input = calloc(1, sizeof(*input)), **last = list;
	const char *mistake;
	char *what;

	if (!input)
		die("out of memory");
	input->fd = input->fd_in = -1;
	mistake = spec_name(spec, FORM, input->name, &what);
	if (mistake)
		return mistake;
	if (!strncmp(what, "evdev:", 6) && what[6]) {
		input->grab = spec_take_flag(what, ",grab");
		input->path = what + 6;
	}
	if (input->path ? !*input->path : strcmp(what, "stdio"))
		return FORM;
	for (; *last; last = &(*last)->next) {
		if (!strcmp((*last)->name, input->name))
			return "another input device has this name already";
		if (!input->path && !(*last)->path)
			return "stdin types on another input device already";
	}
	*last = input;
	return NULL;
}

/* ---- An evdev device ----------------------------------------------------- */

static void open_device(struct input *input)
{
	input->fd_in = open(input->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	input->fd = input->fd_in;
	if (input->fd_in < 0 && (errno == EACCES || errno == EROFS))
		input->fd_in =
			open(input->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (input->fd_in >= 0)
		return;
	if (errno == ENOENT)
		die("input %s: %s: %s; 'ls /dev/input/by-id' shows what there is",
		    input->name, input->path, strerror(errno));
	if (errno == EACCES)
		die("input %s: %s: %s; join its group with "
		    "'sudo usermod -aG input $USER' and log in again",
		    input->name, input->path, strerror(errno));
	die("input %s: %s: %s", input->name, input->path, strerror(errno));
}

/* Only what the guest can see or do: no sounds and no force feedback. */
static const unsigned int types[] = { EV_KEY, EV_REL, EV_ABS, EV_MSC,
				      EV_SW,  EV_LED, EV_REP };

static void set_bit(uint8_t *bits, unsigned int bit)
{
	bits[bit / 8] |= 1 << bit % 8;
}

static void describe_codes(const struct libevdev *dev, unsigned int type,
			   struct kvm_hcall_input *desc)
{
	for (int code = 0; code <= libevdev_event_type_get_max(type); code++) {
		if (!libevdev_has_event_code(dev, type, code))
			continue;
		set_bit(desc->codes[type], code);
		if (type != EV_ABS)
			continue;
		const struct input_absinfo *axis =
			libevdev_get_abs_info(dev, code);

		desc->axes[code] = (struct kvm_hcall_axis){
			.min = axis->minimum,
			.max = axis->maximum,
			.fuzz = axis->fuzz,
			.flat = axis->flat,
			.resolution = axis->resolution,
		};
	}
}

static void describe(const struct libevdev *dev, bool writable,
		     struct kvm_hcall_input *desc)
{
	const char *serial = libevdev_get_uniq(dev);

	desc->bustype = libevdev_get_id_bustype(dev);
	desc->vendor = libevdev_get_id_vendor(dev);
	desc->product = libevdev_get_id_product(dev);
	desc->version = libevdev_get_id_version(dev);
	snprintf(desc->name, sizeof(desc->name), "%s", libevdev_get_name(dev));
	snprintf(desc->serial, sizeof(desc->serial), "%s",
		 serial ? serial : "");
	for (unsigned int p = 0; p <= INPUT_PROP_MAX; p++)
		if (libevdev_has_property(dev, p))
			set_bit(desc->properties, p);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i] != EV_LED || writable)
			describe_codes(dev, types[i], desc);
}

/*
 * The release of a key that is down when we grab would be the guest's, and for
 * the host, whose user has just pressed Enter, the key would stay down.
 */
static void await_release(const struct input *input)
{
	const struct timespec step = {
		.tv_nsec = RELEASE_STEP_MS * 1000000l,
	};
	uint8_t down[KEY_CNT / 8], none[KEY_CNT / 8] = { 0 };

	for (int ms = 0; ms < RELEASE_TIMEOUT_MS; ms += RELEASE_STEP_MS) {
		if (ioctl(input->fd_in, EVIOCGKEY(sizeof(down)), down) < 0 ||
		    !memcmp(down, none, sizeof(down)))
			return;
		nanosleep(&step, NULL);
	}
	note("input %s: a key is down all the time: grabbed nevertheless",
	     input->name);
}

static void grab(const struct input *input)
{
	await_release(input);
	if (ioctl(input->fd_in, EVIOCGRAB, 1) == 0)
		return;
	if (errno == EBUSY)
		die("input %s: %s has been grabbed by another program, or by another "
		    "--input: only one can have it",
		    input->name, input->path);
	die("input %s: %s cannot be grabbed: %s", input->name, input->path,
	    strerror(errno));
}

static void open_evdev(struct input *input)
{
	struct libevdev *dev;
	int err;

	open_device(input);
	err = libevdev_new_from_fd(input->fd_in, &dev);
	if (err == -ENODEV)
		die("input %s: %s has been unplugged", input->name,
		    input->path);
	if (err < 0)
		die("input %s: %s is no evdev device (/dev/input/event...)",
		    input->name, input->path);
	describe(dev, input->fd >= 0, input->description);
	libevdev_free(dev);
	if (input->grab)
		grab(input);
	if (input->fd < 0)
		note("input %s: %s can only be read: the guest cannot set its lights",
		     input->name, input->path);
	input->buffer =
		mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (input->buffer == MAP_FAILED)
		die("out of memory");
}

/* ---- Both ---------------------------------------------------------------- */

static void open_keyboard(struct input *input)
{
	struct kvm_hcall_input *desc = input->description;

	input->keyboard = keyboard_open();
	input->fd_in = keyboard_fd(input->keyboard);
	desc->bustype = BUS_VIRTUAL;
	strcpy(desc->name, "hvrun keyboard");
	keys_codes(desc->codes[EV_KEY]);
}

void input_open(struct input *input)
{
	input->description = calloc(1, sizeof(*input->description));
	if (!input->description)
		die("out of memory");
	if (input->path)
		open_evdev(input);
	else
		open_keyboard(input);
}

struct keyboard *input_keyboard(const struct input *list)
{
	for (; list; list = list->next)
		if (list->keyboard)
			return list->keyboard;
	return NULL;
}
