// SPDX-License-Identifier: GPL-2.0
/*
 * Class 4, input: a keyboard and a pointer made with uinput, and pipes.  Every
 * event, once, in order; what is lost is told.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/uinput.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define BUF  (RAM + 0x10001) /* of no alignment at all */
#define ROOM ((int)HCALL_INPUT_MAX_EVENTS)

static struct vm vm;
static int uinput = -1; /* the device's own side */
static int evdev = -1; /* what the launcher has opened */
static void *buffer; /* for the module */
static uint32_t channel;

/* ---- The device --------------------------------------------------------------- */

static int uinput_open(void)
{
	static bool loaded;
	int fd;

	if (!loaded)
		NEED(!system("modprobe -a uinput evdev"));
	loaded = true;
	fd = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	NEED(fd >= 0);
	return fd;
}

static void uinput_create(int fd, const char *name)
{
	struct uinput_setup setup = {
		.id = { BUS_USB, 0x1234, 0xabcd, 0x0102 },
	};

	strncpy(setup.name, name, sizeof(setup.name) - 1);
	NEED(!ioctl(fd, UI_DEV_SETUP, &setup));
	NEED(!ioctl(fd, UI_DEV_CREATE));
}

static int keyboard(void)
{
	int fd = uinput_open();

	NEED(!ioctl(fd, UI_SET_EVBIT, EV_KEY));
	for (int code = KEY_ESC; code <= KEY_COMPOSE; code++)
		NEED(!ioctl(fd, UI_SET_KEYBIT, code));
	NEED(!ioctl(fd, UI_SET_EVBIT, EV_LED));
	for (int code = LED_NUML; code <= LED_SCROLLL; code++)
		NEED(!ioctl(fd, UI_SET_LEDBIT, code));
	uinput_create(fd, "hcall test keyboard");
	return fd;
}

static int pointer(void)
{
	struct uinput_abs_setup x = {
		.code = ABS_X,
		.absinfo = { .minimum = -500,
			     .maximum = 32767,
			     .fuzz = 3,
			     .flat = 4,
			     .resolution = 12 },
	};
	struct uinput_abs_setup y = {
		.code = ABS_Y,
		.absinfo = { .maximum = 100000 },
	};
	int fd = uinput_open();

	NEED(!ioctl(fd, UI_SET_EVBIT, EV_KEY));
	NEED(!ioctl(fd, UI_SET_KEYBIT, BTN_LEFT));
	NEED(!ioctl(fd, UI_SET_KEYBIT, BTN_TOUCH));
	NEED(!ioctl(fd, UI_SET_EVBIT, EV_ABS));
	NEED(!ioctl(fd, UI_ABS_SETUP, &x) && !ioctl(fd, UI_ABS_SETUP, &y));
	NEED(!ioctl(fd, UI_SET_PROPBIT, INPUT_PROP_DIRECT));
	uinput_create(fd, "hcall test pointer");
	return fd;
}

/* The evdev device of a uinput device. */
static int evdev_open(int fd, int flags)
{
	char name[32], path[300];
	struct dirent *entry;
	int ret = -1;
	DIR *dir;

	NEED(ioctl(fd, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
	dir = opendir(path);
	NEED(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "event", 5))
			continue;
		snprintf(path, sizeof(path), "/dev/input/%s", entry->d_name);
		ret = open(path, flags | O_CLOEXEC);
		NEED(ret >= 0);
	}
	NEED(ret >= 0);
	closedir(dir);
	return ret;
}

/* As a launcher describes a device. */
static void describe(int fd, struct kvm_hcall_input *in)
{
	uint8_t types[4] = {};
	struct input_id id;

	memset(in, 0, sizeof(*in));
	NEED(!ioctl(fd, EVIOCGID, &id));
	in->bustype = id.bustype;
	in->vendor = id.vendor;
	in->product = id.product;
	in->version = id.version;
	NEED(ioctl(fd, EVIOCGNAME(sizeof(in->name) - 1), in->name) >= 0);
	strcpy(in->serial, "number 7");
	NEED(ioctl(fd, EVIOCGPROP(sizeof(in->properties)), in->properties) >=
	     0);
	NEED(ioctl(fd, EVIOCGBIT(0, sizeof(types)), types) >= 0);
	for (int type = 1; type < EV_CNT; type++) {
		if (types[type / 8] >> type % 8 & 1)
			NEED(ioctl(fd, EVIOCGBIT(type, sizeof(in->codes[0])),
				   in->codes[type]) >= 0);
	}
	for (int code = 0; code < ABS_CNT; code++) {
		struct input_absinfo abs;

		if (!(in->codes[EV_ABS][code / 8] >> code % 8 & 1))
			continue;
		NEED(!ioctl(fd, EVIOCGABS(code), &abs));
		in->axes[code].min = abs.minimum;
		in->axes[code].max = abs.maximum;
		in->axes[code].fuzz = abs.fuzz;
		in->axes[code].flat = abs.flat;
		in->axes[code].resolution = abs.resolution;
	}
}

static struct kvm_hcall_input description;

static struct kvm_hcall_add input_add(int fd, int fd_in, void *for_module)
{
	return (struct kvm_hcall_add){
		.class_id = HCALL_CLASS_INPUT,
		.fd = fd,
		.fd_in = fd_in,
		.name = "kbd",
		.buffer = (uintptr_t)for_module,
		.input = (uintptr_t)&description,
	};
}

static void setup_on(int device)
{
	struct kvm_hcall_add add;

	vm_new(&vm);
	vm_bind(&vm);
	uinput = device;
	evdev = evdev_open(uinput, O_RDWR | O_NONBLOCK);
	describe(evdev, &description);
	buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(buffer != MAP_FAILED);
	add = input_add(evdev, evdev, buffer);
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	channel = vm_device(&vm, HCALL_CLASS_INPUT, 0).channel;
}

static void setup(void)
{
	setup_on(keyboard());
}

static void teardown(void)
{
	vm_free(&vm);
	munmap(buffer, KVM_HCALL_BUFFER_BYTES);
	close(evdev);
	close(uinput);
}

static void emit(int type, int code, int value)
{
	struct input_event e = { .type = type, .code = code, .value = value };

	NEED(write(uinput, &e, sizeof(e)) == sizeof(e));
}

/* Key number i: the same one is never twice in a row. */
static int key_code(int i)
{
	return KEY_1 + i * 7 % 52;
}

/* Press, SYN, release, SYN. */
static void type_key(int i)
{
	emit(EV_KEY, key_code(i), 1);
	emit(EV_SYN, SYN_REPORT, 0);
	emit(EV_KEY, key_code(i), 0);
	emit(EV_SYN, SYN_REPORT, 0);
}

/* ---- The guest ---------------------------------------------------------------- */

static int64_t rd(uint64_t gpa, uint64_t count, uint64_t flags)
{
	return call(&vm, HCALL_INPUT_READ, 0, gpa, count, flags);
}

static int64_t wr(uint64_t gpa, uint64_t count)
{
	return call(&vm, HCALL_INPUT_WRITE, 0, gpa, count, 0);
}

static int64_t config(uint32_t select, uint32_t subsel, uint64_t gpa,
		      uint64_t bytes)
{
	return call(&vm, HCALL_INPUT_CONFIG, 0,
		    HCALL_INPUT_SELECT(select, subsel), gpa, bytes);
}

static struct hcall_input_event event_at(uint64_t gpa, int i)
{
	struct hcall_input_event e;

	memcpy(&e, (uint8_t *)at(&vm, gpa) + i * sizeof(e), sizeof(e));
	return e;
}

static void put_event(uint64_t gpa, int i, int type, int code, uint32_t value)
{
	struct hcall_input_event e = { type, code, value };

	memcpy((uint8_t *)at(&vm, gpa) + i * sizeof(e), &e, sizeof(e));
}

static bool event_is(struct hcall_input_event e, int type, int code, int value)
{
	if (e.type == type && e.code == code && e.value == (uint32_t)value)
		return true;
	printf("# event %u %u %d, not %d %d %d\n", e.type, e.code, e.value,
	       type, code, value);
	return false;
}

/* Is this the nth event of type_key(0), type_key(1), ...? */
static bool is_typed(struct hcall_input_event e, int n)
{
	if (n % 2)
		return event_is(e, EV_SYN, SYN_REPORT, 0);
	return event_is(e, EV_KEY, key_code(n / 4), n % 4 == 0);
}

/* Read all there is, which shall be keys from number first on, and no more. */
static void expect_keys(int first, int keys)
{
	int got = 0;

	while (got < keys * 4) {
		int64_t n = rd(BUF, ROOM, HCALL_NOWAIT);

		CHECK(n > 0 && n <= ROOM);
		for (int i = 0; i < n; i++)
			CHECK(is_typed(event_at(BUF, i), first * 4 + got + i));
		got += n;
	}
	CHECK_EQ(got, keys * 4);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
}

static void drain(void)
{
	while (rd(BUF, ROOM, HCALL_NOWAIT) > 0)
		;
}

/* ---- Reading ------------------------------------------------------------------ */

#define KEYS 2000

static atomic_int keys_read;
static atomic_bool give_up;

/* Never further ahead than evdev's ring of 64 events has room for. */
static void *typist(void *arg)
{
	(void)arg;
	for (int i = 0; i < KEYS && !give_up; i++) {
		while (i - keys_read > 12 && !give_up)
			usleep(100);
		type_key(i);
		if (i % 100 == 50)
			usleep(5000);
	}
	return NULL;
}

/* Every key, in order, by reads of all kinds, most of which have to sleep. */
static void keys(void)
{
	static const int counts[] = { ROOM, 1, 3, 2 };
	pthread_t thread;
	int got = 0, slept = 0;

	setup();
	keys_read = 0;
	give_up = false;
	NEED(!pthread_create(&thread, NULL, typist, NULL));
	for (int round = 0; got < KEYS * 4; round++) {
		int count = counts[round % 4];
		int64_t n =
			call_door(&vm, round % 5 ? DOOR_REGISTER : DOOR_BATCH,
				  HCALL_INPUT_READ, 0, BUF, count, 0);

		if (n == -HCALL_EAGAIN || n == -HCALL_EINTR) {
			slept++;
			continue;
		}
		if (n < 1 || n > count)
			give_up = true;
		CHECK(n >= 1 && n <= count);
		for (int i = 0; i < n; i++) {
			if (!is_typed(event_at(BUF, i), got + i)) {
				give_up = true;
				printf("# event %d of %d\n", got + i, KEYS * 4);
				CHECK(!"in order");
			}
		}
		got += n;
		keys_read = got / 4;
	}
	NEED(!pthread_join(thread, NULL));
	CHECK_EQ(got, KEYS * 4);
	CHECK(slept > 0);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_INPUT).bytes,
		 KEYS * 4 * sizeof(struct hcall_input_event));
	teardown();
}

static void doors(void)
{
	int key = 0;

	setup();
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		vcpu_mode(&vm.vcpu[0], mode);
		for (int door = 0; door < DOORS; door++) {
			CHECK_EQ(call_door(&vm, door, HCALL_INPUT_READ, 0, BUF,
					   ROOM, HCALL_NOWAIT),
				 -HCALL_EAGAIN);
			type_key(key);
			CHECK_EQ(call_door(&vm, door, HCALL_INPUT_READ, 0, BUF,
					   ROOM, HCALL_NOWAIT),
				 4);
			for (int i = 0; i < 4; i++)
				CHECK(is_typed(event_at(BUF, i), key * 4 + i));
			key++;
			CHECK_EQ(call_door(&vm, door, HCALL_INPUT_CONFIG, 0,
					   HCALL_INPUT_SELECT(HCALL_INPUT_NAME,
							      0),
					   BUF, 128),
				 (int)strlen("hcall test keyboard"));
			put_event(BUF, 0, EV_LED, LED_CAPSL, door % 2);
			put_event(BUF, 1, EV_SYN, SYN_REPORT, 0);
			CHECK_EQ(call_door(&vm, door, HCALL_INPUT_WRITE, 0, BUF,
					   2, 0),
				 2);
			drain(); /* evdev tells of the light, too */
		}
	}
	/* A batch does not wait, whatever its flags say. */
	CHECK_EQ(call_door(&vm, DOOR_BATCH, HCALL_INPUT_READ, 0, BUF, 1, 0),
		 -HCALL_EAGAIN);
	teardown();
}

/* Any address, and not a byte more than was read. */
static void memory(void)
{
	static const int offsets[] = { 0, 1, 7, 4093 };
	uint8_t *p;

	setup();
	for (int i = 0; i < 4; i++) {
		uint64_t gpa = RAM + 0x20000 + offsets[i];

		p = at(&vm, gpa);
		memset(p - 8, 0xee, 8 + ROOM * 8);
		type_key(i);
		CHECK_EQ(rd(gpa, ROOM, HCALL_NOWAIT), 4);
		for (int k = 0; k < 4; k++)
			CHECK(is_typed(event_at(gpa, k), i * 4 + k));
		CHECK_EQ(p[-1], 0xee);
		for (int k = 4 * 8; k < ROOM * 8; k++)
			CHECK_EQ(p[k], 0xee);
	}
	/* Over a border of memslots, in the middle of an event. */
	type_key(0);
	CHECK_EQ(rd(RAM2 - 13, 4, HCALL_NOWAIT), 4);
	{
		struct hcall_input_event e[4];

		memcpy(e, at(&vm, RAM2 - 13), 13);
		memcpy((uint8_t *)e + 13, at(&vm, RAM2), sizeof(e) - 13);
		for (int k = 0; k < 4; k++)
			CHECK(is_typed(e[k], k));
	}
	type_key(0);
	CHECK_EQ(rd(TILES + 4096 - 4, 4, HCALL_NOWAIT), 4);
	CHECK_EQ(*(uint32_t *)(vm.tiles + 14 * 4096), 1); /* its value */
	/* Bad memory: the events stay. */
	type_key(0);
	CHECK_EQ(rd(HOLE, 4, HCALL_NOWAIT), -HCALL_EFAULT);
	CHECK_EQ(rd(HOLE - 31, 4, HCALL_NOWAIT), -HCALL_EFAULT);
	CHECK_EQ(rd(ROM, 4, HCALL_NOWAIT), -HCALL_EFAULT);
	CHECK_EQ(rd(-1, 1, HCALL_NOWAIT), -HCALL_EFAULT);
	CHECK_EQ(rd(-8, 2, HCALL_NOWAIT), -HCALL_EFAULT);
	CHECK_EQ(rd(1ull << 52, 1, HCALL_NOWAIT), -HCALL_EFAULT);
	expect_keys(0, 1);
	/* The launcher's mapping under a memslot is gone. */
	p = at(&vm, RAM + 0x40000);
	NEED(!munmap(p, 4096));
	type_key(1);
	CHECK_EQ(rd(RAM + 0x40000, 4, HCALL_NOWAIT), -HCALL_EFAULT);
	NEED(mmap(p, 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	type_key(2);
	CHECK(rd(BUF, ROOM, HCALL_NOWAIT) >= 4);
	teardown();
}

static void sleep_in_read(int vcpu)
{
	call_sleeps(&vm.vcpu[vcpu], HCALL_INPUT_READ, 0, BUF + vcpu * 4096,
		    ROOM, 0);
}

/* A vCPU that waits for a key sleeps, and wakes for it, and costs nothing. */
static void sleeps(void)
{
	setup();
	for (int i = 0; i < 20; i++) {
		sleep_in_read(0);
		if (!i)
			sleep_is_free(&vm);
		type_key(i);
		CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
		expect_keys(i, 1);
	}
	/* Two vCPUs: both hear of it, one gets it. */
	sleep_in_read(0);
	sleep_in_read(1);
	type_key(3);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
	expect_keys(3, 1);
	/* A signal ends KVM_RUN, not the sleep. */
	sleep_in_read(0);
	call_interrupt(&vm.vcpu[0]);
	type_key(4);
	CHECK_EQ(call_run(&vm.vcpu[0]), -HCALL_EAGAIN);
	expect_keys(4, 1);
	/* The device is taken away from the VM. */
	sleep_in_read(0);
	vm_remove(&vm, HCALL_CLASS_INPUT, 0);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(rd(BUF, 1, 0), -HCALL_ENODEV);
	teardown();
}

static void fires(void)
{
	setup();
	CHECK(channel >= 64 && channel < HCALL_CHANNEL_GUEST);
	channel_take(&vm, channel);
	CHECK(!channel_take(&vm, channel));
	for (int i = 0; i < 10; i++) {
		type_key(i);
		CHECK(channel_fires(&vm, channel));
		expect_keys(i, 1);
		/* One that came while the last was read is no news. */
		usleep(1000);
		channel_take(&vm, channel);
	}
	usleep(10000);
	CHECK(!channel_take(&vm, channel));
	/* A vCPU in WAIT hears of it. */
	call_start(&vm.vcpu[0], HCALL_EVENT_WAIT, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	type_key(0);
	CHECK_EQ(call_wait(&vm.vcpu[0]), 0);
	CHECK_EQ(call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0), channel);
	expect_keys(0, 1);
	/* It tells of the device's end too. */
	usleep(1000);
	channel_take(&vm, channel);
	NEED(!ioctl(uinput, UI_DEV_DESTROY));
	CHECK(channel_fires(&vm, channel));
	CHECK_EQ(rd(BUF, 1, HCALL_NOWAIT), -HCALL_EIO);
	teardown();
}

/* ---- Losses ------------------------------------------------------------------- */

static void overflow(void)
{
	struct hcall_input_event e[256];
	int got = 0, at_end = 0;

	setup();
	for (int i = 0; i < 200; i++)
		type_key(i);
	for (;;) {
		int64_t n = rd(BUF, ROOM, HCALL_NOWAIT);

		if (n == -HCALL_EAGAIN)
			break;
		CHECK(n > 0 && got + n <= 256);
		memcpy(e + got, at(&vm, BUF), n * sizeof(e[0]));
		got += n;
	}
	CHECK(got >= 6);
	CHECK(event_is(e[0], EV_SYN, SYN_DROPPED, 0));
	for (int i = 1; i < got; i++)
		CHECK(e[i].type != EV_SYN || e[i].code != SYN_DROPPED);
	/* What is left is the end of what was typed. */
	for (int i = got - 1; i >= 2; i--, at_end++)
		CHECK(is_typed(e[i], 799 - at_end));
	CHECK(at_end < 64);
	/* And from here on it is as before. */
	for (int i = 0; i < 15; i++)
		type_key(i);
	expect_keys(0, 15);
	/* Also for one that slept. */
	sleep_in_read(0);
	for (int i = 0; i < 100; i++)
		type_key(i);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK(rd(BUF, 1, 0) == 1);
	CHECK(event_is(event_at(BUF, 0), EV_SYN, SYN_DROPPED, 0));
	teardown();
}

/* The device goes: while open, with events in it, while a vCPU sleeps. */
static void unplug(void)
{
	for (int round = 0; round < 6; round++) {
		setup();
		switch (round % 3) {
		case 0:
			NEED(!ioctl(uinput, UI_DEV_DESTROY));
			break;
		case 1:
			type_key(0);
			NEED(!ioctl(uinput, UI_DEV_DESTROY));
			/* What was typed before may be lost, not mangled. */
			if (rd(BUF, 1, HCALL_NOWAIT) == 1) {
				CHECK(is_typed(event_at(BUF, 0), 0));
				while (rd(BUF, 1, HCALL_NOWAIT) == 1)
					;
			}
			break;
		case 2:
			sleep_in_read(0);
			sleep_in_read(1);
			if (round < 3)
				NEED(!ioctl(uinput, UI_DEV_DESTROY));
			else
				close(uinput);
			CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
			CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
			if (round >= 3)
				uinput = -1;
			break;
		}
		/* Neither sleeps any more. */
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(rd(BUF, ROOM, 0), -HCALL_EIO);
			CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EIO);
		}
		put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
		CHECK_EQ(wr(BUF, 1), -HCALL_EIO);
		/* What it was can still be asked. */
		CHECK_EQ(config(HCALL_INPUT_IDS, 0, BUF, 8), 8);
		CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF, 8, 0, 0), 8);
		vm_remove(&vm, HCALL_CLASS_INPUT, 0);
		CHECK_EQ(rd(BUF, ROOM, 0), -HCALL_ENODEV);
		teardown();
	}
}

/* The launcher takes its own right to the device back, as logind does. */
static void revoked(void)
{
	setup();
	type_key(0);
	expect_keys(0, 1);
	sleep_in_read(0);
	NEED(!ioctl(evdev, EVIOCREVOKE, 0));
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	type_key(1);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EIO);
	type_key(2);
	CHECK_EQ(rd(BUF, ROOM, 0), -HCALL_EIO);
	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	CHECK_EQ(wr(BUF, 1), -HCALL_EIO);
	teardown();
}

static void grab(void)
{
	int other;

	setup();
	other = evdev_open(uinput, O_RDWR | O_NONBLOCK);
	/* Ours: nobody else sees what is typed. */
	NEED(!ioctl(evdev, EVIOCGRAB, 1));
	type_key(0);
	expect_keys(0, 1);
	{
		struct input_event e;

		CHECK(read(other, &e, sizeof(e)) < 0 && errno == EAGAIN);
	}
	/* Theirs: nor do we, and a sleeper goes on sleeping. */
	NEED(!ioctl(evdev, EVIOCGRAB, 0));
	NEED(!ioctl(other, EVIOCGRAB, 1));
	type_key(1);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
	sleep_in_read(0);
	type_key(1);
	NEED(!ioctl(other, EVIOCGRAB, 0));
	type_key(2);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	expect_keys(2, 1);
	close(other);
	teardown();
}

/*
 * The page that the launcher lent the module goes: an error, no signal, and
 * with a new page all is well again.
 */
static void buffer_gone(void)
{
	for (int round = 0; round < 3; round++) {
		void *old;
		int64_t ret;

		setup();
		old = buffer;
		type_key(0);
		expect_keys(0, 1);
		switch (round) {
		case 0:
			NEED(!munmap(buffer, KVM_HCALL_BUFFER_BYTES));
			break;
		case 1:
			NEED(!mprotect(buffer, KVM_HCALL_BUFFER_BYTES,
				       PROT_READ));
			break;
		case 2: {
			/* Behind the end of a file: SIGBUS for us. */
			int fd = memfd_create("short", 0);

			NEED(fd >= 0);
			NEED(mmap(buffer, KVM_HCALL_BUFFER_BYTES,
				  PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0) == buffer);
			close(fd);
			break;
		}
		}
		for (int i = 0; i < 5; i++) {
			type_key(i);
			ret = rd(BUF, ROOM, i % 2 ? HCALL_NOWAIT : 0);
			CHECK(ret == -HCALL_EFAULT || ret == -HCALL_EIO);
		}
		put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
		ret = wr(BUF, 1);
		CHECK(ret == 1 || ret == -HCALL_EFAULT || ret == -HCALL_EIO);
		CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF, 8, 0, 0), 8);
		buffer = mmap(old, KVM_HCALL_BUFFER_BYTES,
			      PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		NEED(buffer == old);
		drain();
		type_key(9);
		expect_keys(9, 1);
		teardown();
	}
}

/* ---- Writing ------------------------------------------------------------------ */

/* Does exactly this light change come out at the device? */
static bool led_is(int code, int value)
{
	struct input_event e;

	if (read(uinput, &e, sizeof(e)) != sizeof(e))
		return false;
	return e.type == EV_LED && e.code == code && e.value == value;
}

static bool no_led(void)
{
	struct input_event e;

	return read(uinput, &e, sizeof(e)) < 0 && errno == EAGAIN;
}

static void leds(void)
{
	static const int bad_types[] = { EV_KEY, EV_REL, EV_ABS, EV_MSC,
					 EV_SW,	 EV_SND, EV_REP, EV_FF,
					 EV_PWR, 0x1f,	 EV_CNT, 0xffff };

	setup();
	CHECK(no_led());
	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	put_event(BUF, 1, EV_LED, LED_NUML, 1);
	put_event(BUF, 2, EV_SYN, SYN_REPORT, 0);
	CHECK_EQ(wr(BUF, 3), 3);
	CHECK(led_is(LED_CAPSL, 1));
	CHECK(led_is(LED_NUML, 1));
	CHECK(no_led());
	/* On again is nothing new to the device. */
	CHECK_EQ(wr(BUF, 3), 3);
	CHECK(no_led());
	{
		struct hcall_input_event e = { EV_LED, LED_CAPSL, 0 };

		memcpy(at(&vm, RAM2 - 5), &e, 5);
		memcpy(at(&vm, RAM2), (uint8_t *)&e + 5, 3);
		memcpy(vm.rom, &e, 8);
		((struct hcall_input_event *)vm.rom)->code = LED_NUML;
	}
	CHECK_EQ(wr(RAM2 - 5, 1), 1);
	CHECK(led_is(LED_CAPSL, 0));
	CHECK_EQ(wr(ROM, 1), 1);
	CHECK(led_is(LED_NUML, 0));
	/* The most that a call takes. */
	for (int i = 0; i < ROOM - 1; i++)
		put_event(BUF, i, EV_LED, LED_SCROLLL, !(i % 2));
	put_event(BUF, ROOM - 1, EV_SYN, SYN_REPORT, 0);
	CHECK_EQ(wr(BUF, ROOM), ROOM);
	/* uinput's own ring of 16 has been overwritten thrice, not read. */
	for (int i = 48; i < ROOM - 1; i++)
		CHECK(led_is(LED_SCROLLL, !(i % 2)));
	CHECK(no_led());
	/* Anything else, wherever it stands: nothing is written. */
	for (unsigned int i = 0; i < sizeof(bad_types) / sizeof(int); i++) {
		for (int where = 0; where < 3; where++) {
			for (int k = 0; k < 3; k++)
				put_event(BUF, k, EV_LED, LED_CAPSL, !(k % 2));
			put_event(BUF, where, bad_types[i], KEY_A, 1);
			CHECK_EQ(wr(BUF, 3), -HCALL_EINVAL);
			CHECK(no_led());
		}
	}
	/* Of EV_SYN only SYN_REPORT, which others who read hear of too. */
	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	for (int code = SYN_CONFIG; code <= SYN_MAX; code++) {
		put_event(BUF, 1, EV_SYN, code, 0);
		CHECK_EQ(wr(BUF, 2), -HCALL_EINVAL);
	}
	CHECK(no_led());
	drain();
	type_key(0);
	expect_keys(0, 1);

	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	CHECK_EQ(wr(BUF, 0), -HCALL_EINVAL);
	CHECK_EQ(wr(BUF, ROOM + 1), -HCALL_E2BIG);
	CHECK_EQ(wr(BUF, -1), -HCALL_E2BIG);
	CHECK_EQ(wr(HOLE, 1), -HCALL_EFAULT);
	CHECK_EQ(wr(HOLE - 4, 1), -HCALL_EFAULT);
	CHECK_EQ(wr(-4, 1), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_INPUT_WRITE, 1, BUF, 1, 0), -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_INPUT_WRITE, 1ull << 32, BUF, 1, 0),
		 -HCALL_ENODEV);
	CHECK(no_led());
	teardown();
}

/* A device that was added without a way back. */
static void no_way_back(void)
{
	struct kvm_hcall_add add;

	setup();
	add = input_add(-1, evdev, buffer);
	strcpy(add.name, "silent");
	vm_remove(&vm, HCALL_CLASS_INPUT, 0);
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	CHECK_EQ(wr(BUF, 1), -HCALL_EOPNOTSUPP);
	CHECK(no_led());
	type_key(0);
	expect_keys(0, 1);
	teardown();
}

/* ---- Configuration ------------------------------------------------------------ */

/* Ask for all and for every part of it; no byte more is written. */
static void expect_config(uint32_t select, uint32_t subsel, const void *want,
			  int64_t bytes)
{
	uint8_t *p = at(&vm, BUF);

	for (int room = 1; room <= 200; room += room < 24 ? 1 : 16) {
		int written = bytes < room ? bytes : room;

		memset(p, 0x5a, 256);
		CHECK_EQ(config(select, subsel, BUF, room), bytes);
		CHECK(!memcmp(p, want, written));
		for (int i = written; i < 256; i++)
			CHECK_EQ(p[i], 0x5a);
	}
}

static void config_keyboard(void)
{
	uint16_t ids[] = { BUS_USB, 0x1234, 0xabcd, 0x0102 };
	uint8_t keys[KEY_COMPOSE / 8 + 1] = {};
	uint8_t leds = 7;

	setup();
	expect_config(HCALL_INPUT_NAME, 0, "hcall test keyboard", 19);
	expect_config(HCALL_INPUT_SERIAL, 0, "number 7", 8);
	expect_config(HCALL_INPUT_IDS, 0, ids, 8);
	expect_config(HCALL_INPUT_PROPERTIES, 0, "", 0);
	for (int code = KEY_ESC; code <= KEY_COMPOSE; code++)
		keys[code / 8] |= 1 << code % 8;
	expect_config(HCALL_INPUT_CODES, EV_KEY, keys, sizeof(keys));
	expect_config(HCALL_INPUT_CODES, EV_LED, &leds, 1);
	expect_config(HCALL_INPUT_CODES, EV_SYN, "", 0);
	expect_config(HCALL_INPUT_CODES, EV_REL, "", 0);
	expect_config(HCALL_INPUT_CODES, EV_ABS, "", 0);
	expect_config(HCALL_INPUT_CODES, EV_MAX, "", 0);
	expect_config(HCALL_INPUT_CODES, EV_CNT, "", 0);
	expect_config(HCALL_INPUT_CODES, 255, "", 0);
	expect_config(HCALL_INPUT_AXIS, ABS_X, "", 0);
	expect_config(HCALL_INPUT_AXIS, ABS_MAX, "", 0);
	expect_config(HCALL_INPUT_AXIS, ABS_CNT, "", 0);
	expect_config(HCALL_INPUT_AXIS, 255, "", 0);
	/* No such question, no answer; that is virtio-input's way. */
	expect_config(0, 0, "", 0);
	expect_config(0x04, 0, "", 0);
	expect_config(0x13, 0, "", 0);
	expect_config(0xff, 0, "", 0);

	CHECK_EQ(config(HCALL_INPUT_NAME, 0, BUF, 0), -HCALL_EINVAL);
	CHECK_EQ(config(HCALL_INPUT_IDS, 0, HOLE, 8), -HCALL_EFAULT);
	CHECK_EQ(config(HCALL_INPUT_IDS, 0, HOLE - 4, 8), -HCALL_EFAULT);
	CHECK_EQ(config(HCALL_INPUT_IDS, 0, ROM, 8), -HCALL_EFAULT);
	CHECK_EQ(config(HCALL_INPUT_IDS, 0, -1, 8), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_INPUT_CONFIG, 0, 1 << 16, BUF, 8),
		 -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_INPUT_CONFIG, 0, 1ull << 32 | 0x300, BUF, 8),
		 -HCALL_EINVAL);
	for (uint64_t dev = 1; dev; dev <<= 7)
		CHECK_EQ(call(&vm, HCALL_INPUT_CONFIG, dev, 0x300, BUF, 8),
			 -HCALL_ENODEV);
	{
		struct hcall_device info = vm_device(&vm, HCALL_CLASS_INPUT, 0);

		CHECK_EQ(info.flags, 0);
		CHECK_EQ(info.u.input.max_events, HCALL_INPUT_MAX_EVENTS);
		CHECK(!strcmp(info.name, "kbd"));
		for (int i = 4; i < 64; i++)
			CHECK_EQ(info.u.bytes[i], 0);
	}
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_INPUT, 0, 0, 0), 7);
	teardown();
}

static void config_pointer(void)
{
	struct hcall_input_axis x = { -500, 32767, 3, 4, 12 };
	struct hcall_input_axis y = { 0, 100000, 0, 0, 0 };
	uint8_t props = 1 << INPUT_PROP_DIRECT, axes = 3;
	uint8_t keys[BTN_TOUCH / 8 + 1] = {};

	setup_on(pointer());
	keys[BTN_LEFT / 8] |= 1 << BTN_LEFT % 8;
	keys[BTN_TOUCH / 8] |= 1 << BTN_TOUCH % 8;
	expect_config(HCALL_INPUT_NAME, 0, "hcall test pointer", 18);
	expect_config(HCALL_INPUT_PROPERTIES, 0, &props, 1);
	expect_config(HCALL_INPUT_CODES, EV_KEY, keys, sizeof(keys));
	expect_config(HCALL_INPUT_CODES, EV_ABS, &axes, 1);
	expect_config(HCALL_INPUT_AXIS, ABS_X, &x, sizeof(x));
	expect_config(HCALL_INPUT_AXIS, ABS_Y, &y, sizeof(y));
	expect_config(HCALL_INPUT_AXIS, ABS_Z, "", 0);
	/* Positions, negative ones too. */
	emit(EV_ABS, ABS_X, -444);
	emit(EV_ABS, ABS_Y, 99999);
	emit(EV_KEY, BTN_TOUCH, 1);
	emit(EV_SYN, SYN_REPORT, 0);
	CHECK_EQ(rd(BUF, ROOM, 0), 4);
	CHECK(event_is(event_at(BUF, 0), EV_ABS, ABS_X, -444));
	CHECK(event_is(event_at(BUF, 1), EV_ABS, ABS_Y, 99999));
	CHECK(event_is(event_at(BUF, 2), EV_KEY, BTN_TOUCH, 1));
	CHECK(event_is(event_at(BUF, 3), EV_SYN, SYN_REPORT, 0));
	teardown();
}

/* The longest name and the fullest bitmaps there can be. */
static void config_full(void)
{
	struct kvm_hcall_add add;
	uint8_t ones[KVM_HCALL_INPUT_CODE_BYTES];
	int p[2];

	NEED(!pipe(p));
	vm_new(&vm);
	vm_bind(&vm);
	memset(&description, 0, sizeof(description));
	memset(description.name, 'n', 127);
	memset(description.serial, 's', 127);
	memset(description.properties, 0xff, 16);
	memset(ones, 0xff, sizeof(ones));
	for (int type = 1; type < EV_CNT; type++)
		memset(description.codes[type], 0xff, sizeof(ones));
	memset(description.codes[EV_ABS], 0, sizeof(ones));
	memset(description.codes[EV_ABS], 0xff, 8);
	memset(&description.axes[ABS_MAX], 0x11, 20);
	add = input_add(-1, p[0], NULL);
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	expect_config(HCALL_INPUT_NAME, 0, description.name, 127);
	expect_config(HCALL_INPUT_SERIAL, 0, description.serial, 127);
	expect_config(HCALL_INPUT_PROPERTIES, 0, ones, 16);
	expect_config(HCALL_INPUT_CODES, EV_MAX, ones, sizeof(ones));
	expect_config(HCALL_INPUT_CODES, EV_ABS, ones, 8);
	expect_config(HCALL_INPUT_AXIS, ABS_MAX, &description.axes[ABS_MAX],
		      20);
	/* The launcher's structure is not looked at again. */
	description.name[0] = 'X';
	CHECK_EQ(config(HCALL_INPUT_NAME, 0, BUF, 1), 127);
	CHECK_EQ(*(char *)at(&vm, BUF), 'n');
	vm_free(&vm);
	close(p[0]);
	close(p[1]);
}

/* ---- Mistakes ------------------------------------------------------------------ */

static void mistakes(void)
{
	setup();
	type_key(0);
	CHECK_EQ(rd(BUF, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(rd(BUF, 1, 2), -HCALL_EINVAL);
	CHECK_EQ(rd(BUF, 1, 1ull << 32), -HCALL_EINVAL);
	CHECK_EQ(rd(BUF, ROOM + 1, 0), -HCALL_E2BIG);
	CHECK_EQ(rd(BUF, 1ull << 32 | 1, 0), -HCALL_E2BIG);
	CHECK_EQ(rd(BUF, -1, 0), -HCALL_E2BIG);
	for (uint64_t dev = 1; dev; dev <<= 7)
		CHECK_EQ(call(&vm, HCALL_INPUT_READ, dev, BUF, 1, 0),
			 -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_INPUT_READ, 63, BUF, 1, 0), -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_INPUT_READ, 64, BUF, 1, 0), -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_NR(HCALL_CLASS_INPUT, 3), 0, BUF, 1, 0),
		 -HCALL_ENOSYS);
	expect_keys(0, 1);
	vcpu_mode(&vm.vcpu[0], MODE_64_USER);
	type_key(0);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EPERM);
	vcpu_mode(&vm.vcpu[0], MODE_64);
	expect_keys(0, 1);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_INPUT, KVM_HCALL_DENY, 0), 0);
	type_key(1);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EPERM);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_INPUT, KVM_HCALL_HANDLE, 0), 0);
	expect_keys(1, 1);
	/* The launcher's descriptor may block now: that hurts only itself. */
	NEED(!fcntl(evdev, F_SETFL, 0));
	{
		int64_t ret = rd(BUF, ROOM, HCALL_NOWAIT);

		CHECK(ret == -HCALL_EIO || ret == -HCALL_EAGAIN);
	}
	teardown();
}

/* Refused; and the name is free, so a good one can follow. */
#define REFUSED(change, error)                                \
	do {                                                  \
		struct kvm_hcall_add add = good;              \
		struct kvm_hcall_input saved = description;   \
		change;                                       \
		CHECK_EQ(vm_add_device(&vm, &add), -(error)); \
		description = saved;                          \
	} while (0)

static void add_errors(void)
{
	struct kvm_hcall_add good;
	int blocking, rdonly, wronly, other, null, p[2], file;
	char name[] = "/tmp/hcall-input-XXXXXX";

	setup();
	vm_remove(&vm, HCALL_CLASS_INPUT, 0);
	good = input_add(evdev, evdev, buffer);
	blocking = evdev_open(uinput, O_RDWR);
	rdonly = evdev_open(uinput, O_RDONLY | O_NONBLOCK);
	wronly = evdev_open(uinput, O_WRONLY | O_NONBLOCK);
	other = evdev_open(uinput, O_RDWR | O_NONBLOCK);
	null = open("/dev/null", O_RDWR | O_NONBLOCK);
	file = mkstemp(name);
	NEED(null >= 0 && file >= 0 && !pipe(p) && !unlink(name));

	REFUSED((add.fd = -1, add.fd_in = -1), EBADF);
	REFUSED(add.fd_in = 999, EBADF);
	REFUSED(add.fd = 999, EBADF);
	REFUSED((add.fd = blocking, add.fd_in = blocking), EINVAL);
	REFUSED((add.fd = -1, add.fd_in = wronly), EACCES);
	REFUSED((add.fd = rdonly, add.fd_in = rdonly), EACCES);
	REFUSED(add.fd_in = null, EINVAL);
	REFUSED((add.fd = -1, add.fd_in = file), EINVAL);
	REFUSED((add.fd = -1, add.fd_in = uinput), EINVAL);
	REFUSED((add.fd = -1, add.fd_in = vm.hcall), EINVAL);
	REFUSED(add.fd = null, EINVAL);
	REFUSED(add.fd = uinput, EINVAL);
	REFUSED(add.fd = p[0], EACCES);
	REFUSED((add.fd = -1, add.fd_in = p[1], add.buffer = 0), EACCES);
	REFUSED(add.buffer = 0, EINVAL);
	REFUSED((add.fd = -1, add.fd_in = p[0]), EINVAL); /* buffer */
	REFUSED(add.input = 0, EFAULT);
	REFUSED(add.input = 4096, EFAULT);
	REFUSED(add.input = -1, EFAULT);
	REFUSED(description.flags = 1, EINVAL);
	REFUSED(description.reserved = 1, EINVAL);
	REFUSED(memset(description.name, 'n', 128), EINVAL);
	REFUSED(description.name[100] = 'n', EINVAL);
	REFUSED(memset(description.serial, 'n', 128), EINVAL);
	REFUSED(description.serial[100] = 'n', EINVAL);
	REFUSED(description.codes[0][0] = 1, EINVAL);
	REFUSED(add.flags = KVM_HCALL_ADD_READONLY, EINVAL);
	REFUSED(add.flags = KVM_HCALL_ADD_VNET_HDR, EINVAL);
	REFUSED(add.columns = 80, EINVAL);
	REFUSED(add.rows = 25, EINVAL);
	REFUSED(add.mac[5] = 1, EINVAL);
	REFUSED(add.mtu = 1500, EINVAL);
	REFUSED(add.queues = 1, EINVAL);
	REFUSED(add.name[0] = 0, EINVAL);
	/* What is only for this class is nothing for another. */
	{
		struct kvm_hcall_add add = {
			.class_id = HCALL_CLASS_CONSOLE,
			.fd = p[1],
			.fd_in = -1,
			.name = "c",
		};

		add.input = (uintptr_t)&description;
		CHECK_EQ(vm_add_device(&vm, &add), -EINVAL);
		add.input = 0;
		add.buffer = (uintptr_t)buffer;
		CHECK_EQ(vm_add_device(&vm, &add), -EINVAL);
		add.buffer = 0;
		CHECK_EQ(vm_add_device(&vm, &add), 0);
	}
	/* Nothing of this has kept the device or the name. */
	CHECK_EQ(vm_add_device(&vm, &good), 0);
	CHECK_EQ(vm_add_device(&vm, &good), -EEXIST);
	type_key(0);
	expect_keys(0, 1);
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	strcpy(good.name, "late");
	CHECK_EQ(vm_add_device(&vm, &good), -EPERM);
	close(blocking);
	close(rdonly);
	close(wronly);
	close(other);
	close(null);
	close(file);
	close(p[0]);
	close(p[1]);
	teardown();
}

/* ---- A pipe as source ------------------------------------------------------------ */

static int keys_in, leds_out;

static void setup_pipe(void)
{
	struct kvm_hcall_add add;
	int a[2], b[2];

	vm_new(&vm);
	vm_bind(&vm);
	memset(&description, 0, sizeof(description));
	strcpy(description.name, "terminal");
	memset(description.codes[EV_KEY], 0xfe, 8);
	description.codes[EV_LED][0] = 7;
	NEED(!pipe2(a, O_CLOEXEC) && !pipe2(b, O_CLOEXEC));
	NEED(fcntl(b[1], F_SETPIPE_SZ, 4096) >= 0);
	NEED(!fcntl(b[0], F_SETFL, O_NONBLOCK));
	add = input_add(b[1], a[0], NULL);
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	channel = vm_device(&vm, HCALL_CLASS_INPUT, 0).channel;
	close(a[0]);
	close(b[1]);
	keys_in = a[1];
	leds_out = b[0];
}

static void teardown_pipe(void)
{
	vm_free(&vm);
	close(keys_in);
	close(leds_out);
}

static void pipe_key(int i)
{
	struct hcall_input_event e[4] = {
		{ EV_KEY, key_code(i), 1 },
		{ EV_SYN, SYN_REPORT, 0 },
		{ EV_KEY, key_code(i), 0 },
		{ EV_SYN, SYN_REPORT, 0 },
	};

	NEED(write(keys_in, e, sizeof(e)) == sizeof(e));
}

static void *pipe_typist(void *arg)
{
	(void)arg;
	for (int i = 0; i < KEYS; i++)
		pipe_key(i);
	return NULL;
}

static void pipes(void)
{
	struct hcall_input_event e[256];
	pthread_t thread;
	int got = 0;

	setup_pipe();
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
	NEED(!pthread_create(&thread, NULL, pipe_typist, NULL));
	while (got < KEYS * 4) {
		int count = got % 3 ? ROOM : 1 + got % 5;
		int64_t n = rd(BUF, count, 0);

		if (n == -HCALL_EAGAIN || n == -HCALL_EINTR)
			continue;
		CHECK(n >= 1 && n <= count);
		for (int i = 0; i < n; i++)
			CHECK(is_typed(event_at(BUF, i), got + i));
		got += n;
	}
	NEED(!pthread_join(thread, NULL));
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
	/* Channel, sleep, overflow as the launcher tells it. */
	channel_take(&vm, channel);
	pipe_key(0);
	CHECK(channel_fires(&vm, channel));
	expect_keys(0, 1);
	sleep_in_read(0);
	pipe_key(1);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	expect_keys(1, 1);
	e[0] = (struct hcall_input_event){ EV_SYN, SYN_DROPPED, 0 };
	NEED(write(keys_in, e, 8) == 8);
	CHECK_EQ(rd(BUF, 1, 0), 1);
	CHECK(event_is(event_at(BUF, 0), EV_SYN, SYN_DROPPED, 0));
	/* Bad memory: the events stay. */
	pipe_key(0);
	CHECK_EQ(rd(HOLE - 8, 4, 0), -HCALL_EFAULT);
	CHECK_EQ(rd(ROM, 4, 0), -HCALL_EFAULT);
	expect_keys(0, 1);

	/* Lights. */
	put_event(BUF, 0, EV_LED, LED_CAPSL, 1);
	put_event(BUF, 1, EV_SYN, SYN_REPORT, 0);
	CHECK_EQ(wr(BUF, 2), 2);
	CHECK_EQ(read(leds_out, e, sizeof(e)), 16);
	CHECK(event_is(e[0], EV_LED, LED_CAPSL, 1));
	CHECK(event_is(e[1], EV_SYN, SYN_REPORT, 0));
	put_event(BUF, 1, EV_KEY, KEY_A, 1);
	CHECK_EQ(wr(BUF, 2), -HCALL_EINVAL);
	CHECK(read(leds_out, e, sizeof(e)) < 0 && errno == EAGAIN);
	/* Nobody looks at them: told, and only whole events are in there. */
	put_event(BUF, 1, EV_LED, LED_NUML, 1);
	for (got = 0; got < 4096 / 8; got += 2)
		CHECK_EQ(wr(BUF, 2), 2);
	CHECK_EQ(call_door(&vm, DOOR_BATCH, HCALL_INPUT_WRITE, 0, BUF, 2, 0),
		 -HCALL_EAGAIN);
	CHECK_EQ(wr(BUF, 2), -HCALL_EAGAIN); /* it never waits */
	while (got > 0) {
		ssize_t n = read(leds_out, e, sizeof(e));

		CHECK(n > 0 && n % 8 == 0);
		CHECK(event_is(e[0], EV_LED, LED_CAPSL, 1));
		got -= n / 8;
	}
	CHECK_EQ(got, 0);
	CHECK_EQ(wr(BUF, 1), 1);
	close(leds_out);
	leds_out = -1;
	signal(SIGPIPE, SIG_DFL);
	CHECK_EQ(wr(BUF, 1), -HCALL_EIO);
	teardown_pipe();
}

static void pipe_ends(void)
{
	setup_pipe();
	pipe_key(0);
	close(keys_in);
	keys_in = -1;
	CHECK_EQ(rd(BUF, ROOM, 0), 4);
	CHECK_EQ(rd(BUF, ROOM, 0), -HCALL_EIO);
	CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EIO);
	teardown_pipe();

	setup_pipe();
	sleep_in_read(0);
	close(keys_in);
	keys_in = -1;
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(rd(BUF, ROOM, 0), -HCALL_EIO);
	teardown_pipe();

	/* A launcher that does not keep to whole events gets no harm done. */
	setup_pipe();
	for (int i = 0; i < 5; i++) {
		int64_t ret;

		NEED(write(keys_in, "abc", 3) == 3);
		ret = rd(BUF, ROOM, HCALL_NOWAIT);
		CHECK(ret == -HCALL_EIO || ret == -HCALL_EAGAIN || ret == 1);
	}
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF, 8, 0, 0), 8);
	teardown_pipe();
}

/* Two keyboards and a pointer at once: none sees the other's events. */
static void several(void)
{
	struct kvm_hcall_add add;
	int first, second[2];
	char name[16];

	setup();
	first = uinput;
	NEED(!pipe(second));
	for (int i = 1; i < 64; i++) {
		add = input_add(-1, second[0], NULL);
		snprintf(name, sizeof(name), "in%d", i);
		strcpy(add.name, name);
		CHECK_EQ(vm_add_device(&vm, &add), i);
	}
	strcpy(add.name, "too-many");
	add.unit = 0;
	CHECK_EQ(vm_add_device(&vm, &add), -ENOSPC);
	vm_remove(&vm, HCALL_CLASS_INPUT, 7);
	uinput = pointer();
	{
		int fd = evdev_open(uinput, O_RDWR | O_NONBLOCK);
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		describe(fd, &description);
		add = input_add(fd, fd, page);
		strcpy(add.name, "pointer");
		CHECK_EQ(vm_add_device(&vm, &add), 7);
		emit(EV_ABS, ABS_Y, 77);
		emit(EV_SYN, SYN_REPORT, 0);
		CHECK_EQ(rd(BUF, ROOM, HCALL_NOWAIT), -HCALL_EAGAIN);
		CHECK_EQ(call(&vm, HCALL_INPUT_READ, 7, BUF, ROOM, 0), 2);
		CHECK(event_is(event_at(BUF, 0), EV_ABS, ABS_Y, 77));
		CHECK(vm_device(&vm, HCALL_CLASS_INPUT, 7).channel != channel);
		close(uinput);
		uinput = first;
		type_key(0);
		expect_keys(0, 1);
		CHECK_EQ(call(&vm, HCALL_INPUT_READ, 7, BUF, ROOM, 0),
			 -HCALL_EIO);
		vm_remove(&vm, HCALL_CLASS_INPUT, 7);
		close(fd);
		munmap(page, 4096);
	}
	teardown();
	close(second[0]);
	close(second[1]);
}

static const struct test tests[] = {
	{ "input.keys", keys },
	{ "input.doors", doors },
	{ "input.memory", memory },
	{ "input.sleeps", sleeps },
	{ "input.channel", fires },
	{ "input.overflow", overflow },
	{ "input.unplug", unplug },
	{ "input.revoked", revoked },
	{ "input.grab", grab },
	{ "input.buffer_gone", buffer_gone },
	{ "input.leds", leds },
	{ "input.no_way_back", no_way_back },
	{ "input.config_keyboard", config_keyboard },
	{ "input.config_pointer", config_pointer },
	{ "input.config_full", config_full },
	{ "input.mistakes", mistakes },
	{ "input.add_errors", add_errors },
	{ "input.pipes", pipes },
	{ "input.pipe_ends", pipe_ends },
	{ "input.several", several },
};

KTAP_MAIN(tests)
