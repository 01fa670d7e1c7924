// SPDX-License-Identifier: GPL-2.0
/*
 * Class 1, console: every byte, once, in order, however slow the reader is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define BUF (RAM + 0x10001) /* of no alignment at all */

static struct vm vm;
static int out; /* what the guest writes comes out here */
static int in; /* what goes in here the guest reads */

static void add_console(void)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_CONSOLE,
		.columns = 80,
		.rows = 25,
		.name = "console",
	};
	int a[2], b[2];

	NEED(!pipe2(a, O_CLOEXEC) && !pipe2(b, O_CLOEXEC));
	NEED(fcntl(a[1], F_SETPIPE_SZ, 8192) >= 0);
	add.fd = a[1];
	add.fd_in = b[0];
	NEED(!ioctl(vm.hcall, KVM_HCALL_ADD, &add));
	close(a[1]);
	close(b[0]);
	out = a[0];
	in = b[1];
}

static void setup(void)
{
	vm_new(&vm);
	vm_bind(&vm);
	add_console();
}

static void teardown(void)
{
	vm_free(&vm);
	close(out);
	close(in);
}

static int64_t cwrite(uint64_t gpa, uint64_t len, uint64_t flags)
{
	return call(&vm, HCALL_CONSOLE_WRITE, 0, gpa, len, flags);
}

static int64_t cread(uint64_t gpa, uint64_t len, uint64_t flags)
{
	return call(&vm, HCALL_CONSOLE_READ, 0, gpa, len, flags);
}

static void basics(void)
{
	char data[300];

	setup();
	memcpy(at(&vm, BUF), "hello", 5);
	CHECK_EQ(cwrite(BUF, 5, 0), 5);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, '!', 0, 0), 1);
	NEED(read(out, data, sizeof(data)) == 6);
	CHECK(!memcmp(data, "hello!", 6));
	/* All bytes are bytes. */
	for (int i = 0; i < 256; i++)
		CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, i, 0, 0), 1);
	NEED(read(out, data, sizeof(data)) == 256);
	for (int i = 0; i < 256; i++)
		CHECK_EQ((uint8_t)data[i], i);

	NEED(write(in,
		   "\0\xff"
		   "abc",
		   5) == 5);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), 255);
	CHECK_EQ(cread(BUF, 100, 0), 3);
	CHECK(!memcmp(at(&vm, BUF), "abc", 3));
	CHECK_EQ(cread(BUF, 100, HCALL_NOWAIT), -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0),
		 -HCALL_EAGAIN);
	/* The end of input. */
	NEED(write(in, "z", 1) == 1);
	close(in);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), 'z');
	CHECK_EQ(cread(BUF, 100, 0), 0);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), -HCALL_EIO);
	in = -1;
	teardown();
}

static void size(void)
{
	struct kvm_hcall_resize resize = {
		.class_id = HCALL_CLASS_CONSOLE,
		.columns = 200,
		.rows = 32767,
	};
	struct hcall_device *info;
	int64_t r;

	setup();
	r = call(&vm, HCALL_CONSOLE_SIZE, 0, 0, 0, 0);
	CHECK_EQ(HCALL_SIZE_COLUMNS(r), 80);
	CHECK_EQ(HCALL_SIZE_ROWS(r), 25);
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	NEED(!ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize));
	vcpu_mode(&vm.vcpu[0], MODE_32);
	r = call(&vm, HCALL_CONSOLE_SIZE, 0, 0, 0, 0);
	CHECK(r > 0);
	CHECK_EQ(HCALL_SIZE_COLUMNS(r), 200);
	CHECK_EQ(HCALL_SIZE_ROWS(r), 32767);
	info = at(&vm, RAM);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, 128, 0), 128);
	CHECK_EQ(info->class_id, HCALL_CLASS_CONSOLE);
	CHECK_EQ(info->u.console.columns, 200);
	CHECK_EQ(info->u.console.max_bytes, HCALL_CONSOLE_MAX_BYTES);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_SIZE, 1, 0, 0, 0), -HCALL_ENODEV);
	resize.rows = 32768;
	CHECK(ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize) && errno == EINVAL);
	resize.rows = 1;
	resize.unit = 1;
	CHECK(ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize) && errno == ENODEV);
	resize.class_id = HCALL_CLASS_BLOCK;
	CHECK(ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize) && errno == ENODEV);
	teardown();
}

static void mistakes(void)
{
	setup();
	CHECK_EQ(cwrite(BUF, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(cwrite(BUF, 1, 2), -HCALL_EINVAL);
	CHECK_EQ(cwrite(BUF, 65537, 0), -HCALL_E2BIG);
	CHECK_EQ(cwrite(BUF, -1, 0), -HCALL_E2BIG);
	CHECK_EQ(cwrite(HOLE, 1, 0), -HCALL_EFAULT);
	CHECK_EQ(cwrite(HOLE - 4, 5, 0), -HCALL_EFAULT);
	CHECK_EQ(cwrite(-1, 1, 0), -HCALL_EFAULT);
	CHECK_EQ(cwrite(-1, 2, 0), -HCALL_EFAULT);
	CHECK_EQ(cread(BUF, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(cread(BUF, 65537, 0), -HCALL_E2BIG);
	CHECK_EQ(cread(ROM, 1, 0), -HCALL_EFAULT);
	CHECK_EQ(cread(HOLE, 1, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, 256, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, 0, 2, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 2, 0, 0), -HCALL_EINVAL);
	for (uint64_t dev = 1; dev; dev <<= 7) {
		CHECK_EQ(call(&vm, HCALL_CONSOLE_WRITE, dev, BUF, 1, 0),
			 -HCALL_ENODEV);
		CHECK_EQ(call(&vm, HCALL_CONSOLE_READ, dev, BUF, 1, 0),
			 -HCALL_ENODEV);
		CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, dev, 0, 0, 0),
			 -HCALL_ENODEV);
		CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, dev, 0, 0, 0),
			 -HCALL_ENODEV);
	}
	/* ... of which nothing has come out. */
	{
		struct pollfd p = { .fd = out, .events = POLLIN };

		CHECK_EQ(poll(&p, 1, 0), 0);
	}
	teardown();
}

/* A ROM is as good as RAM to write from, and so are sixteen memslots. */
static void memory(void)
{
	char data[8192];

	setup();
	memcpy(vm.rom, "rom", 3);
	CHECK_EQ(cwrite(ROM, 3, 0), 3);
	NEED(read(out, data, sizeof(data)) == 3);
	CHECK(!memcmp(data, "rom", 3));
	for (int i = 0; i < 6000; i++)
		vm.tiles[(15 - i / 4096) * 4096 + i % 4096] = i;
	CHECK_EQ(cwrite(TILES, 6000, 0), 6000);
	NEED(read(out, data, sizeof(data)) == 6000);
	for (int i = 0; i < 6000; i++)
		CHECK_EQ((uint8_t)data[i], (uint8_t)i);
	teardown();
}

/* ---- Slow and absent readers -------------------------------------------------- */

#define STREAM (1 << 20)

static uint8_t stream_byte(int i)
{
	return i * 31 + (i >> 8) * 17;
}

static void *slow_reader(void *arg)
{
	static uint8_t data[997];
	int total = 0, wrong = 0;
	struct timespec nap = { .tv_nsec = 200000 };

	(void)arg;
	for (;;) {
		ssize_t n = read(out, data, sizeof(data));

		if (n <= 0)
			break;
		for (int i = 0; i < n; i++)
			wrong += data[i] != stream_byte(total + i);
		total += n;
		if (total % 5 == 0)
			nanosleep(&nap, NULL);
		if (total >= STREAM)
			break;
	}
	return (void *)(uintptr_t)(wrong ? 0 : total);
}

/* As a guest would: call again for the rest; a batch as well as a call. */
static void slow(void)
{
	struct hcall_op *op;
	pthread_t thread;
	void *total;
	int done = 0;

	setup();
	op = at(&vm, RAM);
	NEED(!pthread_create(&thread, NULL, slow_reader, NULL));
	for (int i = 0; i < STREAM; i++)
		*(uint8_t *)at(&vm, BUF + i) = stream_byte(i);
	while (done < STREAM) {
		int chunk = STREAM - done < 65536 ? STREAM - done : 65536;
		int64_t n;

		if (done / 65536 % 3 == 2) {
			memset(op, 0, sizeof(*op));
			op->number = HCALL_CONSOLE_WRITE;
			op->args[1] = BUF + done;
			op->args[2] = chunk;
			CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), 1);
			n = op->result;
		} else {
			n = cwrite(BUF + done, chunk, 0);
		}
		if (n == -HCALL_EAGAIN || n == -HCALL_EINTR)
			continue;
		CHECK(n > 0 && n <= chunk);
		done += n;
	}
	pthread_join(thread, &total);
	CHECK_EQ((uintptr_t)total, STREAM);
	teardown();
}

/* Input a byte at a time, in pieces, against a guest that is always waiting. */
static void *typist(void *arg)
{
	uint8_t data[777];
	int done = 0;

	(void)arg;
	while (done < STREAM / 8) {
		int n = done % 7 == 0 ? 1 : 1 + done % 776;

		if (n > STREAM / 8 - done)
			n = STREAM / 8 - done;
		for (int i = 0; i < n; i++)
			data[i] = stream_byte(done + i);
		NEED(write(in, data, n) == n);
		done += n;
	}
	return NULL;
}

static void typing(void)
{
	pthread_t thread;
	int done = 0;

	setup();
	NEED(!pthread_create(&thread, NULL, typist, NULL));
	while (done < STREAM / 8) {
		int64_t n;

		if (done % 3 == 0) {
			n = call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0);
			if (n >= 0) {
				CHECK_EQ(n, stream_byte(done));
				done++;
			}
		} else {
			n = cread(BUF, 500, 0);
			CHECK(n != 0);
			for (int i = 0; i < n; i++)
				CHECK_EQ(*(uint8_t *)at(&vm, BUF + i),
					 stream_byte(done + i));
			if (n > 0)
				done += n;
		}
		CHECK(n >= 0 || n == -HCALL_EAGAIN || n == -HCALL_EINTR);
	}
	pthread_join(thread, NULL);
	CHECK_EQ(cread(BUF, 500, HCALL_NOWAIT), -HCALL_EAGAIN);
	teardown();
}

/* A vCPU that waits for input sleeps, and wakes for it, and costs nothing. */
static void sleeps(void)
{
	setup();
	for (int i = 0; i < 20; i++) {
		call_start(&vm.vcpu[0], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
		CHECK(call_asleep(&vm.vcpu[0]));
		if (!i)
			sleep_is_free(&vm);
		NEED(write(in, "k", 1) == 1);
		CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
		CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), 'k');
	}
	/* Two vCPUs on one console: both hear of it, one gets it. */
	call_start(&vm.vcpu[0], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
	call_start(&vm.vcpu[1], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	CHECK(call_asleep(&vm.vcpu[1]));
	NEED(write(in, "x", 1) == 1);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
	/* A full pipe puts a writer to sleep, and a reader wakes it. */
	CHECK(cwrite(BUF, 65536, 0) > 0);
	CHECK_EQ(cwrite(BUF, 65536, HCALL_NOWAIT), -HCALL_EAGAIN);
	call_start(&vm.vcpu[0], HCALL_CONSOLE_PUTC, 0, 'p', 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	{
		char data[8192];

		NEED(read(out, data, sizeof(data)) > 0);
	}
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, 'p', 0, 0), 1);
	teardown();
}

/* What ends a sleep: the input's end, removal of the console, a signal. */
static void sleep_ends(void)
{
	struct kvm_hcall_remove remove = { .class_id = HCALL_CLASS_CONSOLE };

	setup();
	call_start(&vm.vcpu[0], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	close(in);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), -HCALL_EIO);
	in = -1;
	teardown();

	setup();
	call_start(&vm.vcpu[0], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	NEED(!ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove));
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), -HCALL_ENODEV);
	teardown();

	setup();
	call_start(&vm.vcpu[0], HCALL_CONSOLE_GETC, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	call_interrupt(&vm.vcpu[0]);
	/* It is still asleep; input wakes it as if nothing had been. */
	NEED(write(in, "w", 1) == 1);
	CHECK_EQ(call_run(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), 'w');
	teardown();
}

/* Nobody reads: an error for the guest, and no SIGPIPE for us. */
static void reader_gone(void)
{
	struct sigaction act = { .sa_handler = SIG_DFL };

	setup();
	sigaction(SIGPIPE, &act, NULL);
	close(out);
	CHECK_EQ(cwrite(BUF, 5, 0), -HCALL_EIO);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, 'x', 0, 0), -HCALL_EIO);
	out = -1;
	teardown();
}

static void pty(void)
{
	int master, slave, unit;
	struct termios raw;
	char data[64];

	vm_new(&vm);
	vm_bind(&vm);
	NEED(!openpty(&master, &slave, NULL, NULL, NULL));
	NEED(!tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	NEED(!tcsetattr(slave, TCSANOW, &raw));
	/* It must not be able to block. */
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "pty", master, master, 0),
		 -EINVAL);
	NEED(!fcntl(master, F_SETFL, O_NONBLOCK));
	unit = vm_add(&vm, HCALL_CLASS_CONSOLE, "pty", master, master, 0);
	CHECK_EQ(unit, 0);
	memcpy(at(&vm, BUF), "to\0the pty", 10);
	CHECK_EQ(cwrite(BUF, 10, 0), 10);
	NEED(read(slave, data, sizeof(data)) == 10);
	CHECK(!memcmp(data, "to\0the pty", 10));
	CHECK_EQ(cread(BUF, 64, HCALL_NOWAIT), -HCALL_EAGAIN);
	call_start(&vm.vcpu[0], HCALL_CONSOLE_READ, 0, BUF, 64, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	NEED(write(slave, "from", 4) == 4);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(cread(BUF, 64, 0), 4);
	CHECK(!memcmp(at(&vm, BUF), "from", 4));
	/* A launcher that changes its mind only hurts itself. */
	NEED(!fcntl(master, F_SETFL, 0));
	CHECK_EQ(cread(BUF, 64, 0), -HCALL_EIO);
	vm_free(&vm);
	close(master);
	close(slave);
}

static void file(void)
{
	char name[] = "/tmp/hcall-console-XXXXXX", data[32];
	struct rlimit old, limit;
	int fd = mkstemp(name);

	NEED(fd >= 0);
	vm_new(&vm);
	vm_bind(&vm);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "f", fd, -1, 0), -EINVAL);
	NEED(!fcntl(fd, F_SETFL, O_APPEND));
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "f", fd, fd, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "f", fd, -1, 0), 0);
	memcpy(at(&vm, BUF), "first second", 12);
	CHECK_EQ(cwrite(BUF, 6, 0), 6);
	CHECK_EQ(cwrite(BUF + 6, 6, 0), 6);
	NEED(pread(fd, data, sizeof(data), 0) == 12);
	CHECK(!memcmp(data, "first second", 12));
	CHECK_EQ(cread(BUF, 6, 0), 0);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_GETC, 0, 0, 0, 0), -HCALL_EIO);
	NEED(!getrlimit(RLIMIT_FSIZE, &old));
	limit = old;
	limit.rlim_cur = 14;
	NEED(!setrlimit(RLIMIT_FSIZE, &limit));
	CHECK_EQ(cwrite(BUF, 6, 0), -HCALL_ENOSPC);
	NEED(!setrlimit(RLIMIT_FSIZE, &old));
	vm_free(&vm);
	close(fd);
	unlink(name);
}

static void add_errors(void)
{
	int pair[2], p[2], null = open("/dev/null", O_RDWR | O_NONBLOCK);

	NEED(null >= 0);
	NEED(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	NEED(!pipe(p));
	vm_new(&vm);
	vm_bind(&vm);
	/* A socket could carry this instance, which then nobody could close. */
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", pair[0], -1, 0),
		 -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", vm.hcall, -1, 0),
		 -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", null, -1, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", p[0], -1, 0), -EACCES);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", p[1], p[1], 0), -EACCES);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", 999, -1, 0), -EBADF);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", p[1], 999, 0), -EBADF);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", p[1], -1, 1), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "c", p[1], -1, 0), 0);
	vm_free(&vm);
	close(pair[0]);
	close(pair[1]);
	close(p[0]);
	close(p[1]);
	close(null);
}

static const struct test tests[] = {
	{ "console.basics", basics },
	{ "console.size", size },
	{ "console.mistakes", mistakes },
	{ "console.memory", memory },
	{ "console.slow", slow },
	{ "console.typing", typing },
	{ "console.sleeps", sleeps },
	{ "console.sleep_ends", sleep_ends },
	{ "console.reader_gone", reader_gone },
	{ "console.pty", pty },
	{ "console.file", file },
	{ "console.add_errors", add_errors },
};

KTAP_MAIN(tests)
