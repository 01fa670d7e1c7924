// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel file: opened, tried against each boot protocol in turn, loaded.
 * Nothing in it is trusted; it is read with pread() each time, so that a file
 * that shrinks under us is an error and not a SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hvrun.h"

#define CMDLINE_MAX_BYTES 65536

static const struct protocol {
	const char *name;
	bool (*load)(const struct image *image, struct boot *boot);
} protocols[] = {
	{ "Multiboot 1", multiboot_load },
	{ "PVH", pvh_load },
	{ "64-bit ELF", elf64_load },
	{ "Linux", linux_load },
};

void image_open(struct image *image, const char *what, const char *path)
{
	uint32_t head_bytes;
	struct stat st;

	image->what = what;
	image->path = path;
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (image->fd < 0)
		die("%s %s: %s", what, path, strerror(errno));
	if (fstat(image->fd, &st) < 0)
		die("%s %s: %s", what, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die("%s %s: is %s, not a file", what, path,
		    S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
	image->bytes = st.st_size;
	image->head_bytes = 0;
	head_bytes = sizeof(image->head);
	if (head_bytes > image->bytes)
		head_bytes = image->bytes;
	image_read(image, 0, image->head, head_bytes);
	image->head_bytes = head_bytes;
}

void image_read(const struct image *image, uint64_t offset, void *buffer,
		uint64_t bytes)
{
	uint8_t *to = buffer;

	if (offset > image->bytes || bytes > image->bytes - offset)
		die("%s %s: is cut short: it refers to bytes 0x%llx+0x%llx, but has 0x%llx",
		    image->what, image->path, (unsigned long long)offset,
		    (unsigned long long)bytes,
		    (unsigned long long)image->bytes);
	if (offset + bytes <= image->head_bytes) {
		memcpy(to, image->head + offset, bytes);
		return;
	}
	while (bytes) {
		ssize_t n = pread(image->fd, to, bytes, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("%s %s: %s", image->what, image->path,
			    n ? strerror(errno) : "became shorter meanwhile");
		to += n;
		offset += n;
		bytes -= n;
	}
}

void image_load(const struct image *image, struct ram *ram, const char *what,
		uint64_t offset, uint64_t file_bytes, uint64_t gpa,
		uint64_t memory_bytes)
{
	uint8_t *to = ram_at(ram, gpa, memory_bytes);

	if (!to)
		die("kernel %s: %s (0x%llx+0x%llx) lies outside of the guest's %llu MiB: "
		    "give more with --mem, or link it lower",
		    image->path, what, (unsigned long long)gpa,
		    (unsigned long long)memory_bytes,
		    (unsigned long long)(ram->bytes / MIB));
	if (gpa < RAM_1M && gpa + memory_bytes > ram->boot_start)
		die("kernel %s: %s (0x%llx+0x%llx) overlaps 0x%llx to 0xfffff, "
		    "where hvrun's boot data is: link it at 1 MiB or above",
		    image->path, what, (unsigned long long)gpa,
		    (unsigned long long)memory_bytes,
		    (unsigned long long)ram->boot_start);
	if (file_bytes > memory_bytes)
		die("kernel %s: %s has 0x%llx bytes in the file, but only 0x%llx in memory",
		    image->path, what, (unsigned long long)file_bytes,
		    (unsigned long long)memory_bytes);
	image_read(image, offset, to, file_bytes);
}

uint64_t boot_cmdline(struct boot *boot, const char *name)
{
	uint64_t bytes = name ? strlen(name) + 1 : 0;
	uint64_t gpa;
	char *to;

	for (char **arg = boot->args; *arg; arg++)
		bytes += strlen(*arg) + 1;
	if (bytes > CMDLINE_MAX_BYTES)
		die("the kernel's arguments have %llu bytes: %u is the most",
		    (unsigned long long)bytes, CMDLINE_MAX_BYTES);
	gpa = ram_boot_alloc(boot->ram, bytes + 1, 8);
	to = ram_at(boot->ram, gpa, bytes + 1);
	if (name)
		to = stpcpy(to, name);
	for (char **arg = boot->args; *arg; arg++) {
		if (name || arg != boot->args)
			*to++ = ' ';
		to = stpcpy(to, *arg);
	}
	return gpa;
}

void kernel_load(const char *path, struct boot *boot)
{
	struct image image;

	image_open(&image, "kernel", path);
	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
		if (!protocols[i].load(&image, boot))
			continue;
		note("kernel %s: %s, entry at 0x%llx", path, protocols[i].name,
		     (unsigned long long)boot->rip);
		if (boot->initrd && !boot->initrd_loaded)
			die("kernel %s: is not Linux (a bzImage), so there is nobody to take --initrd",
			    path);
		close(image.fd);
		return;
	}
	die("kernel %s: not a kernel: it has no Multiboot 1 header, no PVH note, "
	    "is no 64-bit ELF and no Linux bzImage",
	    path);
}
