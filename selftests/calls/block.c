// SPDX-License-Identifier: GPL-2.0
/*
 * Class 2, block: each call, with the host looking at the file.
 *
 * The environment says where faulty disks are, made by run-in-host:
 *	HCALL_FULL	a file of 1 MiB, sparse, on a file system without space
 *	HCALL_BROKEN	a block device that fails every I/O from sector 8 on
 *	HCALL_LOOP	a block device that works
 *	HCALL_LOOP4K	another, with blocks of 4 KiB
 *	HCALL_EXT4	a directory on ext4, for direct I/O
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define DISK_SECTORS 4096ull /* 2 MiB */
#define BUF	     (RAM + 0x10000)

static struct vm vm;
static const char *path;

static void setup_on(const char *file, uint32_t flags)
{
	path = file;
	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "disk", path, flags);
}

static void setup(uint32_t flags)
{
	setup_on(make_disk("disk", DISK_SECTORS * 512), flags);
}

static void teardown(void)
{
	vm_free(&vm);
	if (!strncmp(path, "/tmp/hcall-", 11))
		unlink(path);
}

static int64_t rd(uint64_t sector, uint64_t gpa, uint64_t sectors)
{
	return call(&vm, HCALL_BLOCK_READ, 0, sector, gpa, sectors);
}

static int64_t wr(uint64_t sector, uint64_t gpa, uint64_t sectors)
{
	return call(&vm, HCALL_BLOCK_WRITE, 0, sector, gpa, sectors);
}

static void host_read(uint64_t sector, void *to, uint64_t bytes)
{
	int fd = open(path, O_RDONLY);

	NEED(fd >= 0);
	NEED(pread(fd, to, bytes, sector * 512) == (ssize_t)bytes);
	close(fd);
}

static uint64_t file_size(void)
{
	struct stat st;

	NEED(!stat(path, &st));
	return st.st_size;
}

static void reads(void)
{
	uint8_t *p;

	setup(0);
	p = at(&vm, BUF);
	CHECK_EQ(rd(0, BUF, 1), 1);
	expect_sector(p, 0);
	CHECK_EQ(rd(17, BUF, 8), 8);
	for (int i = 0; i < 8; i++)
		expect_sector(p + i * 512, 17 + i);
	/* Last sector, and the cap. */
	CHECK_EQ(rd(DISK_SECTORS - 1, BUF, 1), 1);
	expect_sector(p, DISK_SECTORS - 1);
	CHECK_EQ(rd(3, BUF, 2048), 2048);
	for (int i = 0; i < 2048; i++)
		expect_sector(p + i * 512, 3 + i);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).calls, 4);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).bytes,
		 (1 + 8 + 1 + 2048) * 512);
	teardown();
}

/* Any address: alignment 1, over pages, over memslots. */
static void alignment(void)
{
	static const int offsets[] = { 1, 3, 511, 4095, 4097, 12345 };

	setup(0);
	for (int i = 0; i < 6; i++) {
		uint8_t *p = at(&vm, BUF + offsets[i]);

		memset(p - 1, 0xee, 16 * 512 + 2);
		CHECK_EQ(rd(100, BUF + offsets[i], 16), 16);
		for (int s = 0; s < 16; s++)
			expect_sector(p + s * 512, 100 + s);
		CHECK_EQ(p[-1], 0xee);
		CHECK_EQ(p[16 * 512], 0xee);
		CHECK_EQ(wr(200 + i * 16, BUF + offsets[i], 16), 16);
	}
	for (int i = 0; i < 6; i++) {
		uint8_t data[512];

		for (int s = 0; s < 16; s++) {
			host_read(200 + i * 16 + s, data, 512);
			expect_sector(data, 100 + s);
		}
	}
	teardown();
}

static void memslots(void)
{
	uint8_t whole[16 * 512], *p;

	setup(0);
	for (int cut = 1; cut < 8192; cut += 1111) {
		CHECK_EQ(rd(40, RAM2 - cut, 16), 16);
		memcpy(whole, at(&vm, RAM2 - cut), cut);
		memcpy(whole + cut, at(&vm, RAM2), sizeof(whole) - cut);
		for (int s = 0; s < 16; s++)
			expect_sector(whole + s * 512, 40 + s);
		CHECK_EQ(wr(3000, RAM2 - cut, 16), 16);
		host_read(3000, whole, sizeof(whole));
		for (int s = 0; s < 16; s++)
			expect_sector(whole + s * 512, 40 + s);
	}
	/* Sixteen memslots of a page each, in another order in the host. */
	CHECK_EQ(rd(64, TILES + 5, 127), 127);
	for (int i = 5; i < 5 + 127 * 512; i++) {
		p = vm.tiles + (15 - i / 4096) * 4096 + i % 4096;
		whole[(i - 5) % 512] = *p;
		if ((i - 5) % 512 == 511)
			expect_sector(whole, 64 + (i - 5) / 512);
	}
	CHECK_EQ(wr(1000, TILES + 5, 127), 127);
	for (int s = 0; s < 127; s++) {
		host_read(1000 + s, whole, 512);
		expect_sector(whole, 64 + s);
	}
	teardown();
}

static void writes(void)
{
	uint8_t data[512], *p;

	setup(0);
	p = at(&vm, BUF);
	memset(p, 0xa1, 1024);
	CHECK_EQ(wr(5, BUF, 2), 2);
	for (int s = 4; s < 8; s++) {
		host_read(s, data, 512);
		if (s == 5 || s == 6)
			CHECK(data[0] == 0xa1 && !memcmp(data, data + 1, 511));
		else
			expect_sector(data, s);
	}
	CHECK_EQ(wr(DISK_SECTORS - 1, BUF, 1), 1);
	CHECK_EQ(file_size(), DISK_SECTORS * 512);
	CHECK_EQ(wr(0, BUF, 2048), 2048);
	/* A read-only memslot can be written from. */
	memset(vm.rom, 0x77, 512);
	CHECK_EQ(wr(9, ROM, 1), 1);
	host_read(9, data, 512);
	CHECK(data[0] == 0x77 && !memcmp(data, data + 1, 511));
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	teardown();
}

/* Every mistake has its error, and nothing has changed. */
static void mistakes(void)
{
	static const struct {
		uint64_t dev, sector, gpa, sectors;
		int64_t want;
	} bad[] = {
		{ 0, 0, BUF, 0, -HCALL_EINVAL },
		{ 1, 0, BUF, 1, -HCALL_ENODEV },
		{ 63, 0, BUF, 1, -HCALL_ENODEV },
		{ 64, 0, BUF, 1, -HCALL_ENODEV },
		{ 1ull << 32, 0, BUF, 1, -HCALL_ENODEV },
		{ -1, 0, BUF, 1, -HCALL_ENODEV },
		{ 0, 0, BUF, 2049, -HCALL_E2BIG },
		{ 0, 0, BUF, -1, -HCALL_E2BIG },
		{ 0, 0, BUF, 1ull << 55, -HCALL_E2BIG },
		{ 0, DISK_SECTORS, BUF, 1, -HCALL_ERANGE },
		{ 0, DISK_SECTORS - 1, BUF, 2, -HCALL_ERANGE },
		{ 0, -1, BUF, 1, -HCALL_ERANGE },
		{ 0, -1, BUF, 2, -HCALL_ERANGE },
		{ 0, 1ull << 55, BUF, 1, -HCALL_ERANGE },
		{ 0, 1ull << 63, BUF, 8, -HCALL_ERANGE },
		{ 0, 0, HOLE, 1, -HCALL_EFAULT },
		{ 0, 0, HOLE - 1, 1, -HCALL_EFAULT },
		{ 0, 0, HOLE - 1024, 8, -HCALL_EFAULT },
		{ 0, 0, TILES + 16 * 4096 - 511, 1, -HCALL_EFAULT },
		{ 0, 0, -1, 1, -HCALL_EFAULT },
		{ 0, 0, -512, 1, -HCALL_EFAULT },
		{ 0, 0, -512, 2, -HCALL_EFAULT },
		{ 0, 0, 1ull << 52, 1, -HCALL_EFAULT },
		{ 0, 0, 1ull << 63, 1, -HCALL_EFAULT },
		{ 0, 0, RAM | 1ull << 40, 1, -HCALL_EFAULT },
	};
	uint8_t data[512];

	setup(0);
	memset(at(&vm, HOLE - 1024), 0x3c, 1024);
	for (unsigned int i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t nr = i % 2 ? HCALL_BLOCK_WRITE : HCALL_BLOCK_READ;
		int64_t got = call(&vm, nr, bad[i / 2].dev, bad[i / 2].sector,
				   bad[i / 2].gpa, bad[i / 2].sectors);

		if (got != bad[i / 2].want)
			printf("# row %u\n", i / 2);
		CHECK_EQ(got, bad[i / 2].want);
	}
	/* Memory that can only be read from. */
	CHECK_EQ(rd(0, ROM, 1), -HCALL_EFAULT);
	CHECK_EQ(rd(0, ROM + ROM_BYTES - 512, 1), -HCALL_EFAULT);

	for (int i = 0; i < 1024; i++)
		CHECK_EQ(*((uint8_t *)at(&vm, HOLE - 1024) + i), 0x3c);
	for (uint64_t s = 0; s < DISK_SECTORS; s++) {
		host_read(s, data, 512);
		expect_sector(data, s);
	}
	CHECK_EQ(file_size(), DISK_SECTORS * 512);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 1, 0, 0, 0), -HCALL_ENODEV);
	/* And it still works. */
	CHECK_EQ(rd(1, BUF, 1), 1);
	teardown();
}

static void readonly(void)
{
	uint8_t data[512];

	setup(KVM_HCALL_ADD_READONLY);
	CHECK_EQ(rd(1, BUF, 1), 1);
	CHECK_EQ(wr(1, BUF, 1), -HCALL_EROFS);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 1, 1, 0), -HCALL_EROFS);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 1, 1, 0), -HCALL_EROFS);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	host_read(1, data, 512);
	expect_sector(data, 1);
	teardown();
}

static uint64_t blocks_used(void)
{
	struct stat st;

	NEED(!stat(path, &st));
	return st.st_blocks;
}

static bool all_zero(const uint8_t *p, int n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

static void discard_and_zeroes(void)
{
	static uint8_t data[256 * 512];
	uint64_t before;

	setup(0);
	before = blocks_used();
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 64, 1024, 0), 1024);
	CHECK(blocks_used() <= before - 1000);
	CHECK_EQ(file_size(), DISK_SECTORS * 512);
	host_read(63, data, 512);
	expect_sector(data, 63);
	host_read(64 + 1024, data, 512);
	expect_sector(data, 64 + 1024);

	for (int unmap = 0; unmap < 2; unmap++) {
		uint64_t from = 2001 + unmap * 1000;

		CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, from, 254,
			      unmap ? HCALL_ZEROES_UNMAP : 0),
			 254);
		host_read(from - 1, data, sizeof(data));
		expect_sector(data, from - 1);
		CHECK(all_zero(data + 512, 254 * 512));
		expect_sector(data + 255 * 512, from + 254);
	}
	/* Where a hole is no option it is a MiB at a time, told by the count. */
	CHECK(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 0, DISK_SECTORS, 0) >=
	      2048);
	host_read(0, data, sizeof(data));
	CHECK(all_zero(data, sizeof(data)));
	CHECK_EQ(file_size(), DISK_SECTORS * 512);

	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 0, 1, 2),
		 -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 0, 0, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 0, 0x200001, 0),
		 -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 5, 0, 1, 0), -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 0, 0x200001, 0),
		 -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, DISK_SECTORS, 1, 0),
		 -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 1, DISK_SECTORS, 0),
		 -HCALL_ERANGE);
	teardown();
}

/* 8 TiB: sector numbers over 32 bits, from a 64-bit and a 32-bit guest. */
static void huge(void)
{
	const uint64_t sectors = 8ull << 40 >> 9;
	struct hcall_device *info;
	struct hcall_op *op;
	uint8_t *p;
	char name[] = "/tmp/hcall-huge-XXXXXX";
	int fd = mkstemp(name);
	uint8_t data[512];

	NEED(fd >= 0 && !ftruncate(fd, sectors * 512));
	setup_on(name, 0);
	p = at(&vm, BUF);
	info = at(&vm, RAM);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, 128, 0), 128);
	CHECK_EQ(info->u.block.sectors, sectors);
	memset(p, 0x42, 512);
	CHECK_EQ(wr(sectors - 1, BUF, 1), 1);
	CHECK_EQ(wr((1ull << 32) + 5, BUF, 1), 1);
	CHECK_EQ(wr(sectors, BUF, 1), -HCALL_ERANGE);
	memset(p, 0, 512);
	CHECK_EQ(rd(sectors - 1, BUF, 1), 1);
	CHECK_EQ(p[511], 0x42);
	host_read((1ull << 32) + 5, data, 512);
	CHECK_EQ(data[0], 0x42);
	host_read(5, data, 512);
	CHECK_EQ(data[0], 0);

	vcpu_mode(&vm.vcpu[0], MODE_32);
	op = at(&vm, RAM);
	memset(op, 0, sizeof(*op));
	memset(p, 0, 512);
	op->number = HCALL_BLOCK_READ;
	op->args[1] = (1ull << 32) + 5;
	op->args[2] = BUF;
	op->args[3] = 1;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), 1);
	CHECK_EQ(op->result, 1);
	CHECK_EQ(p[0], 0x42);
	close(fd);
	teardown();
}

/* The file grows shorter behind our back: no growth, no signal, an error. */
static void truncated(void)
{
	setup(0);
	NEED(!truncate(path, 1024 * 512 + 100));
	CHECK_EQ(rd(1023, BUF, 1), 1);
	CHECK_EQ(rd(1020, BUF, 8), 4);
	CHECK_EQ(rd(1024, BUF, 1), -HCALL_EIO);
	CHECK_EQ(rd(2000, BUF, 1), -HCALL_EIO);
	CHECK_EQ(wr(2000, BUF, 1), -HCALL_EIO);
	CHECK_EQ(wr(1023, BUF, 2), -HCALL_EIO);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 1023, 2, 0),
		 -HCALL_EIO);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 2000, 2, 0), -HCALL_EIO);
	CHECK_EQ(file_size(), 1024 * 512 + 100);
	teardown();
}

/* The launcher says that the size has changed.  Return: 0 or -errno. */
static int resize(void)
{
	struct kvm_hcall_resize arg = { .class_id = HCALL_CLASS_BLOCK };

	return ioctl(vm.hcall, KVM_HCALL_RESIZE, &arg) ? -errno : 0;
}

static uint64_t told_sectors(void)
{
	return vm_device(&vm, HCALL_CLASS_BLOCK, 0).u.block.sectors;
}

/* What all disks have in common: @sectors and the event, and the end is there. */
static void expect_resized(uint64_t sectors)
{
	uint32_t channel = vm_device(&vm, HCALL_CLASS_BLOCK, 0).channel;

	CHECK(!channel_take(&vm, channel));
	CHECK_EQ(resize(), 0);
	CHECK(channel_take(&vm, channel));
	CHECK_EQ(told_sectors(), sectors);
	CHECK_EQ(rd(sectors - 8, BUF, 8), 8);
	CHECK_EQ(rd(sectors, BUF, 8), -HCALL_ERANGE);
	CHECK_EQ(rd(sectors - 8, BUF, 16), -HCALL_ERANGE);
	CHECK_EQ(rd(sectors + 8, BUF, 8), -HCALL_ERANGE);
}

static void refuses_size(uint64_t sectors)
{
	CHECK_EQ(resize(), -EINVAL);
	CHECK(!channel_take(&vm, vm_device(&vm, HCALL_CLASS_BLOCK, 0).channel));
	CHECK_EQ(told_sectors(), sectors);
}

static void resized(void)
{
	uint8_t data[512];

	setup(0);
	/* Nothing is known of it before the launcher says so. */
	NEED(!truncate(path, 2 * DISK_SECTORS * 512));
	CHECK_EQ(rd(DISK_SECTORS, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(told_sectors(), DISK_SECTORS);
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	expect_resized(2 * DISK_SECTORS);
	CHECK_EQ(rd(7, BUF, 1), 1);
	CHECK_EQ(wr(2 * DISK_SECTORS - 1, BUF, 1), 1);
	host_read(2 * DISK_SECTORS - 1, data, 512);
	expect_sector(data, 7);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, DISK_SECTORS, 8, 0), 8);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, DISK_SECTORS, 8, 0), 8);
	CHECK_EQ(wr(2 * DISK_SECTORS, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 2 * DISK_SECTORS, 1, 0),
		 -HCALL_ERANGE);
	CHECK_EQ(file_size(), 2 * DISK_SECTORS * 512);
	/* Smaller: an error, which then is another one. */
	NEED(!truncate(path, 1000 * 512));
	CHECK_EQ(rd(1000, BUF, 1), -HCALL_EIO);
	expect_resized(1000);
	CHECK_EQ(rd(1000, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(wr(1000, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(wr(999, BUF, 2), -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 999, 2, 0),
		 -HCALL_ERANGE);
	CHECK_EQ(wr(999, BUF, 1), 1);
	CHECK_EQ(file_size(), 1000 * 512);
	/* The same size is no mistake. */
	expect_resized(1000);
	/* Sizes that no disk has. */
	NEED(!truncate(path, 1000 * 512 + 100));
	refuses_size(1000);
	NEED(!truncate(path, 0));
	refuses_size(1000);
	CHECK_EQ(rd(999, BUF, 1), -HCALL_EIO);
	NEED(!truncate(path, DISK_SECTORS * 512));
	expect_resized(DISK_SECTORS);
	teardown();
}

static void resize_errors(void)
{
	static const struct {
		struct kvm_hcall_resize arg;
		int want;
	} rows[] = {
		{ { .class_id = 2, .flags = 1 }, EINVAL },
		{ { .class_id = 2, .columns = 1 }, EINVAL },
		{ { .class_id = 2, .rows = 1 }, EINVAL },
		{ { .class_id = 2, .reserved[0] = 1 }, EINVAL },
		{ { .class_id = 2, .reserved[3] = 1 }, EINVAL },
		{ { .class_id = 2, .unit = 1 }, ENODEV },
		{ { .class_id = 2, .unit = 64 }, ENODEV },
		{ { .class_id = 2, .unit = -1 }, ENODEV },
		{ { .class_id = 0 }, ENODEV },
		{ { .class_id = 1 }, ENODEV },
		{ { .class_id = 3 }, ENODEV },
		{ { .class_id = 77 }, ENODEV },
		{ { .class_id = -1 }, ENODEV },
	};

	setup(0);
	NEED(!truncate(path, 2 * DISK_SECTORS * 512));
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kvm_hcall_resize arg = rows[i].arg;
		int ret = ioctl(vm.hcall, KVM_HCALL_RESIZE, &arg);

		if (ret != -1 || errno != rows[i].want)
			printf("# row %u\n", i);
		CHECK_EQ(ret, -1);
		CHECK_EQ(errno, rows[i].want);
		CHECK_EQ(told_sectors(), DISK_SECTORS);
	}
	CHECK_EQ(resize(), 0);
	vm_remove(&vm, HCALL_CLASS_BLOCK, 0);
	CHECK_EQ(resize(), -ENODEV);
	teardown();
}

static void resized_readonly(void)
{
	setup(KVM_HCALL_ADD_READONLY);
	NEED(!truncate(path, 2 * DISK_SECTORS * 512));
	expect_resized(2 * DISK_SECTORS);
	CHECK_EQ(wr(DISK_SECTORS, BUF, 1), -HCALL_EROFS);
	teardown();
}

/* What resized_while() tells its program, and is told. */
#define WHILE_AT (RAM + 0x8000u)
struct counts {
	volatile uint64_t ends, ok, eio, erange, other, low_ok;
};

/* Reads what comes and goes, and writes what stays, all the time. */
GUEST static int64_t read_and_write(uint64_t at)
{
	struct counts *n = (void *)at;

	while (!n->ends) {
		int64_t ret =
			guest_call(HCALL_BLOCK_READ, 0, DISK_SECTORS, BUF, 8);

		if (ret == 8)
			n->ok++;
		else if (ret == -HCALL_EIO)
			n->eio++;
		else if (ret == -HCALL_ERANGE)
			n->erange++;
		else
			n->other++;
		if (guest_call(HCALL_BLOCK_WRITE, 0, 100, BUF, 8) == 8)
			n->low_ok++;
		else
			n->other++;
	}
	return 0;
}

/* What a call that starts after RESIZE gets is the new size's. */
static void resized_while(void)
{
	struct counts *n;
	uint64_t all;

	setup(0);
	n = at(&vm, WHILE_AT);
	vm_guest(&vm);
	guest_start(&vm.vcpu[1], read_and_write, WHILE_AT, false);
	for (int i = 0; i < 1000 || !n->ok || !n->erange; i++) {
		NEED(i < 100000);
		NEED(!truncate(path, 2 * DISK_SECTORS * 512));
		CHECK_EQ(resize(), 0);
		CHECK_EQ(rd(DISK_SECTORS, BUF + 4096, 8), 8);
		NEED(!truncate(path, DISK_SECTORS * 512));
		CHECK_EQ(resize(), 0);
		CHECK_EQ(rd(DISK_SECTORS, BUF + 4096, 8), -HCALL_ERANGE);
	}
	n->ends = 1;
	CHECK_EQ(call_wait(&vm.vcpu[1]), 0);
	all = n->ok + n->eio + n->erange;
	printf("# %llu reads: %llu were there, %llu EIO, %llu ERANGE\n",
	       (unsigned long long)all, (unsigned long long)n->ok,
	       (unsigned long long)n->eio, (unsigned long long)n->erange);
	CHECK_EQ(n->other, 0);
	CHECK_EQ(n->low_ok, all);
	CHECK_EQ(file_size(), DISK_SECTORS * 512);
	teardown();
}

/* RLIMIT_FSIZE would be SIGXFSZ, which nobody here has a handler for. */
static void fsize_limit(void)
{
	struct rlimit old, limit;

	setup(0);
	NEED(!getrlimit(RLIMIT_FSIZE, &old));
	limit = old;
	limit.rlim_cur = 100 * 512;
	NEED(!setrlimit(RLIMIT_FSIZE, &limit));
	CHECK_EQ(wr(99, BUF, 1), 1);
	CHECK_EQ(wr(100, BUF, 1), -HCALL_ENOSPC);
	CHECK_EQ(wr(99, BUF, 2), -HCALL_ENOSPC);
	CHECK_EQ(rd(100, BUF, 1), 1);
	NEED(!setrlimit(RLIMIT_FSIZE, &old));
	CHECK_EQ(wr(100, BUF, 1), 1);
	teardown();
}

/* The launcher's own mapping goes away under a valid memslot. */
static void unmapped(void)
{
	uint8_t *p;

	setup(0);
	p = at(&vm, BUF);
	NEED(!munmap(p + 4096, 4096));
	CHECK_EQ(rd(0, BUF + 4096, 1), -HCALL_EFAULT);
	CHECK_EQ(wr(0, BUF + 4096, 1), -HCALL_EFAULT);
	/* A part: what fits is done and told, or nothing is. */
	CHECK_EQ(rd(0, BUF, 8), 8);
	CHECK(rd(0, BUF, 16) == 8 || rd(0, BUF, 16) == -HCALL_EFAULT);
	NEED(mmap(p + 4096, 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 4096);
	CHECK_EQ(rd(0, BUF, 16), 16);
	expect_sector(p + 15 * 512, 15);
	/* Mapped, but not for this. */
	NEED(!mprotect(p, 4096, PROT_READ));
	CHECK_EQ(rd(0, BUF, 1), -HCALL_EFAULT);
	CHECK_EQ(wr(0, BUF, 1), 1);
	NEED(!mprotect(p, 4096, PROT_NONE));
	CHECK_EQ(wr(0, BUF, 1), -HCALL_EFAULT);
	NEED(!mprotect(p, 4096, PROT_READ | PROT_WRITE));
	teardown();
}

static void several(void)
{
	const char *other = make_disk("other", 64 * 512);
	uint8_t *p;

	setup(0);
	for (int i = 1; i < 64; i++) {
		char name[16];

		sprintf(name, "disk%d", i);
		CHECK_EQ(vm_disk(&vm, name, other, KVM_HCALL_ADD_READONLY), i);
	}
	NEED(vm_add(&vm, HCALL_CLASS_BLOCK, "one-too-many", 0, -1, 0) ==
	     -ENOSPC);
	p = at(&vm, BUF);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 63, 63, BUF, 1), 1);
	expect_sector(p, 63);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 63, 64, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 64, BUF, 1), 1);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE, 0, 1, BUF, 1), 1);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 1, 1, BUF, 1), 1);
	expect_sector(p, 1);
	unlink(other);
	teardown();
}

/* KVM's dirty log knows what calls wrote, and only that. */
static void dirty_log(void)
{
	uint64_t bitmap[RAM_BYTES / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	uint64_t page = (BUF - RAM) / 4096;

	setup(0);
	vm_slot(&vm, 1, RAM, vm.ram, RAM_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(wr(0, BUF, 8), 8);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(bitmap[page / 64] >> page % 64 & 3, 0);
	CHECK_EQ(rd(0, BUF + 4000, 1), 1);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(bitmap[page / 64] >> page % 64 & 7, 3);
	CHECK_EQ(rd(DISK_SECTORS, BUF, 1), -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF + 8192, 1, 0, 0), 1);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(bitmap[page / 64] >> page % 64 & 7, 4);
	teardown();
}

/* ---- Other backends ---------------------------------------------------------- */

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	NEED(value);
	return value;
}

static void everywhere(void)
{
	uint8_t *p = at(&vm, BUF);
	uint8_t data[512];

	for (int i = 0; i < 2048; i++)
		memset(p + i * 512, i * 7 + 1, 512);
	CHECK_EQ(wr(0, BUF, 2048), 2048);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	memset(p, 0, 2048 * 512);
	CHECK_EQ(rd(0, BUF + 1, 2047), 2047); /* unaligned */
	for (int i = 0; i < 2047; i++)
		CHECK_EQ(p[1 + i * 512], (uint8_t)(i * 7 + 1));
	CHECK_EQ(rd(8, TILES + 3, 120), 120); /* over sixteen memslots */
	CHECK_EQ(vm.tiles[15 * 4096 + 3], (uint8_t)(8 * 7 + 1));
	CHECK_EQ(wr(16, BUF + 1 + 8 * 512, 8), 8);
	CHECK_EQ(rd(16, BUF, 1), 1);
	CHECK_EQ(p[0], 8 * 7 + 1);
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 32, 64, 0), 64);
	CHECK_EQ(rd(32, BUF, 64), 64);
	CHECK(all_zero(p, 64 * 512));
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	host_read(16, data, 512);
	CHECK_EQ(data[0], 8 * 7 + 1);
}

static void direct(void)
{
	char name[256];
	int fd;

	snprintf(name, sizeof(name), "%s/direct", need_env("HCALL_EXT4"));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !ftruncate(fd, DISK_SECTORS * 512));
	close(fd);
	setup_on(name, KVM_HCALL_ADD_DIRECT);
	everywhere();
	CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 0, 1024, 0), 1024);
	teardown();
	unlink(name);
}

static void ext4(void)
{
	char name[256];
	int fd;

	snprintf(name, sizeof(name), "%s/buffered", need_env("HCALL_EXT4"));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !ftruncate(fd, DISK_SECTORS * 512));
	close(fd);
	setup_on(name, 0);
	everywhere();
	teardown();
	unlink(name);
}

static void device(void)
{
	setup_on(need_env("HCALL_LOOP"), 0);
	everywhere();
	teardown();
	setup_on(need_env("HCALL_LOOP"), KVM_HCALL_ADD_DIRECT);
	everywhere();
	teardown();
}

/* A device with blocks of 4 KiB: told, and asked for, in each mode. */
static void device_4k(void)
{
	struct hcall_device *info;

	for (int i = 0; i < 2; i++) {
		setup_on(need_env("HCALL_LOOP4K"),
			 i ? KVM_HCALL_ADD_DIRECT : 0);
		info = at(&vm, RAM);
		CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, 128, 0), 128);
		CHECK_EQ(info->u.block.block_bytes, 4096);
		memset(at(&vm, BUF), 0x5b, 8192);
		CHECK_EQ(wr(8, BUF, 16), 16);
		CHECK_EQ(wr(8, BUF, 4), -HCALL_EINVAL);
		CHECK_EQ(rd(4, BUF, 8), -HCALL_EINVAL);
		CHECK_EQ(rd(16, BUF + 1, 8), 8);
		CHECK_EQ(*(uint8_t *)at(&vm, BUF + 4096), 0x5b);
		/*
		 * Before the zeroes: on tmpfs they make the loop device find
		 * out that it cannot do the one, and then it does neither.
		 */
		CHECK_EQ(call(&vm, HCALL_BLOCK_DISCARD, 0, 16, 8, 0),
			 info->u.block.max_discard_sectors ? 8
							   : -HCALL_EOPNOTSUPP);
		CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 8, 8, 0), 8);
		CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE_ZEROES, 0, 8, 9, 0),
			 -HCALL_EINVAL);
		CHECK_EQ(rd(8, BUF, 8), 8);
		CHECK(all_zero(at(&vm, BUF), 4096));
		CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
		teardown();
	}
}

/* Cut or lengthen the file behind a loop device, and have it look again. */
static void loop_size(const char *device, uint64_t bytes)
{
	struct loop_info64 info;
	int fd = open(device, O_RDWR);

	NEED(fd >= 0 && !ioctl(fd, LOOP_GET_STATUS64, &info));
	NEED(!truncate((char *)info.lo_file_name, bytes));
	NEED(!ioctl(fd, LOOP_SET_CAPACITY));
	close(fd);
}

static void device_resized(void)
{
	static const uint32_t flags[] = { 0, KVM_HCALL_ADD_DIRECT,
					  KVM_HCALL_ADD_READONLY };
	const uint64_t all = 4 << 20;

	for (int i = 0; i < 3; i++) {
		setup_on(need_env("HCALL_LOOP"), flags[i]);
		loop_size(path, all * 2);
		CHECK_EQ(told_sectors(), all / 512);
		expect_resized(all * 2 / 512);
		loop_size(path, all / 2);
		expect_resized(all / 2 / 512);
		loop_size(path, all);
		expect_resized(all / 512);
		teardown();
	}
	/* No whole blocks. */
	setup_on(need_env("HCALL_LOOP4K"), 0);
	loop_size(path, all + 512);
	refuses_size(all / 512);
	loop_size(path, all + 4096);
	expect_resized((all + 4096) / 512);
	loop_size(path, all);
	expect_resized(all / 512);
	teardown();
}

static void full(void)
{
	setup_on(need_env("HCALL_FULL"), 0);
	CHECK_EQ(rd(0, BUF, 8), 8);
	CHECK_EQ(wr(1024, BUF, 8), -HCALL_ENOSPC);
	CHECK_EQ(rd(1024, BUF, 8), 8);
	CHECK(all_zero(at(&vm, BUF), 4096));
	teardown();
}

static void broken(void)
{
	setup_on(need_env("HCALL_BROKEN"), KVM_HCALL_ADD_DIRECT);
	CHECK_EQ(rd(0, BUF, 8), 8);
	CHECK_EQ(rd(8, BUF, 8), -HCALL_EIO);
	CHECK_EQ(wr(8, BUF, 8), -HCALL_EIO);
	CHECK_EQ(rd(16, BUF + 1, 8), -HCALL_EIO);
	CHECK_EQ(rd(0, BUF, 8), 8);
	teardown();
	/* Buffered, the write succeeds and the flush tells. */
	setup_on(need_env("HCALL_BROKEN"), 0);
	CHECK_EQ(rd(64, BUF, 8), -HCALL_EIO);
	CHECK_EQ(wr(64, BUF, 8), 8);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), -HCALL_EIO);
	teardown();
}

/* A flush that answers has reached the disk: what is below sees the data. */
static void flush_reaches(void)
{
	char name[256];
	uint8_t *p;
	int fd;

	snprintf(name, sizeof(name), "%s/flush", need_env("HCALL_EXT4"));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !ftruncate(fd, DISK_SECTORS * 512));
	setup_on(name, 0);
	p = at(&vm, BUF);
	memset(p, 0x99, 4096);
	CHECK_EQ(wr(8, BUF, 8), 8);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	/* Nothing of the file is left to write back: no dirty page. */
	{
		unsigned char vec;
		void *m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
		uint64_t entry, flags;
		int pm = open("/proc/self/pagemap", O_RDONLY);
		int kf = open("/proc/kpageflags", O_RDONLY);

		NEED(m != MAP_FAILED && pm >= 0 && kf >= 0);
		CHECK_EQ(*(uint8_t *)m, 0x99);
		NEED(!mincore(m, 4096, &vec));
		NEED(pread(pm, &entry, 8, (uintptr_t)m / 4096 * 8) == 8);
		NEED(pread(kf, &flags, 8, (entry & ((1ull << 55) - 1)) * 8) ==
		     8);
		CHECK_EQ(flags >> 4 & 1, 0); /* KPF_DIRTY */
		CHECK_EQ(flags >> 8 & 1, 0); /* KPF_WRITEBACK */
		close(pm);
		close(kf);
		munmap(m, 4096);
	}
	close(fd);
	teardown();
	unlink(name);
}

/* What KVM_HCALL_ADD refuses. */
static int add_disk(const char *file, int oflags, uint32_t flags)
{
	int fd = open(file, oflags), ret;

	NEED(fd >= 0);
	ret = vm_add(&vm, HCALL_CLASS_BLOCK, "x", fd, -1, flags);
	close(fd);
	return ret;
}

static void add_errors(void)
{
	const char *odd = make_disk("odd", 1024);
	const char *empty = make_disk("empty", 0);

	setup(0);
	NEED(!truncate(odd, 1000));
	CHECK_EQ(add_disk(odd, O_RDWR, 0), -EINVAL);
	CHECK_EQ(add_disk(empty, O_RDWR, 0), -EINVAL);
	CHECK_EQ(add_disk(path, O_RDONLY, 0), -EACCES);
	CHECK_EQ(add_disk(path, O_WRONLY, 0), -EACCES);
	CHECK_EQ(add_disk(path, O_RDWR | O_APPEND, 0), -EINVAL);
	CHECK_EQ(add_disk(path, O_RDWR, KVM_HCALL_ADD_DIRECT), -EINVAL);
	CHECK_EQ(add_disk(path, O_RDWR, 1 << 9), -EINVAL);
	CHECK_EQ(add_disk("/tmp", O_RDONLY | O_DIRECTORY, 1), -EINVAL);
	CHECK_EQ(add_disk("/dev/null", O_RDWR, 0), -EINVAL);
	CHECK_EQ(add_disk("/dev/kvm-hcall", O_RDWR, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_BLOCK, "x", 999, -1, 0), -EBADF);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_BLOCK, "disk", 0, -1, 0), -EEXIST);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_BLOCK, "", 0, -1, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_BLOCK, "a b", 0, -1, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_SYS, "x", 0, -1, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, 77, "x", 0, -1, 0), -EINVAL);
	CHECK_EQ(vm_add(&vm, -1, "x", 0, -1, 0), -EINVAL);
	unlink(odd);
	unlink(empty);
	teardown();
}

static const struct test tests[] = {
	{ "block.read", reads },
	{ "block.alignment", alignment },
	{ "block.memslots", memslots },
	{ "block.write", writes },
	{ "block.mistakes", mistakes },
	{ "block.readonly", readonly },
	{ "block.discard_and_zeroes", discard_and_zeroes },
	{ "block.huge", huge },
	{ "block.truncated", truncated },
	{ "block.resized", resized },
	{ "block.resize_errors", resize_errors },
	{ "block.resized_readonly", resized_readonly },
	{ "block.resized_while", resized_while },
	{ "block.fsize_limit", fsize_limit },
	{ "block.unmapped", unmapped },
	{ "block.several", several },
	{ "block.dirty_log", dirty_log },
	{ "block.ext4", ext4 },
	{ "block.direct", direct },
	{ "block.device", device },
	{ "block.device_4k", device_4k },
	{ "block.device_resized", device_resized },
	{ "block.full", full },
	{ "block.broken", broken },
	{ "block.flush_reaches", flush_reaches },
	{ "block.add_errors", add_errors },
};

KTAP_MAIN(tests)
