// SPDX-License-Identifier: GPL-2.0
/*
 * ELF files, 32-bit and 64-bit, as far as a statically linked kernel needs.
 * Every offset and size is checked where it is used: image_read() and
 * image_load() refuse what is outside of the file and of guest memory.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "hvrun.h"

#define MAX_PHDRS 1024

static void fill(struct elf *elf, unsigned int type, unsigned int phdr_bytes,
		 unsigned int expected_phdr_bytes)
{
	const char *path = elf->image->path;

	if (type == ET_DYN)
		die("kernel %s: is position-independent, as programs and libraries "
		    "are: link it with -static -no-pie",
		    path);
	if (type != ET_EXEC)
		die("kernel %s: is an ELF, but not an executable (type %u): link it",
		    path, type);
	if (!elf->phdrs || elf->phdrs > MAX_PHDRS)
		die("kernel %s: has %u program headers, where 1 to %u can be",
		    path, elf->phdrs, MAX_PHDRS);
	if (phdr_bytes != expected_phdr_bytes)
		die("kernel %s: its program headers have %u bytes each instead of %u",
		    path, phdr_bytes, expected_phdr_bytes);
}

bool elf_open(const struct image *image, struct elf *elf)
{
	const unsigned char *ident = image->head;
	const Elf32_Ehdr *h32 = (const void *)image->head;
	const Elf64_Ehdr *h64 = (const void *)image->head;
	struct elf_segment seg;

	if (image->head_bytes < EI_NIDENT || memcmp(ident, ELFMAG, SELFMAG))
		return false;
	if (ident[EI_DATA] != ELFDATA2LSB)
		die("kernel %s: is a big-endian ELF, not one for x86",
		    image->path);
	elf->image = image;
	elf->is_64 = ident[EI_CLASS] == ELFCLASS64;
	if (image->head_bytes < (elf->is_64 ? sizeof(*h64) : sizeof(*h32)))
		die("kernel %s: is cut short", image->path);
	if (elf->is_64 ? h64->e_machine != EM_X86_64 : h32->e_machine != EM_386)
		die("kernel %s: is an ELF, but not one for x86", image->path);
	if (elf->is_64) {
		elf->entry = h64->e_entry;
		elf->phdr_offset = h64->e_phoff;
		elf->phdrs = h64->e_phnum;
		fill(elf, h64->e_type, h64->e_phentsize, sizeof(Elf64_Phdr));
	} else {
		elf->entry = h32->e_entry;
		elf->phdr_offset = h32->e_phoff;
		elf->phdrs = h32->e_phnum;
		fill(elf, h32->e_type, h32->e_phentsize, sizeof(Elf32_Phdr));
	}
	if (elf->phdr_offset > image->bytes)
		die("kernel %s: is cut short: its program headers are missing",
		    image->path);
	for (unsigned int i = 0; i < elf->phdrs; i++) {
		elf_segment(elf, i, &seg);
		if (seg.type == PT_INTERP)
			die("kernel %s: is a program for an OS, not a kernel: "
			    "it wants a dynamic linker",
			    image->path);
	}
	return true;
}

void elf_segment(const struct elf *elf, unsigned int index,
		 struct elf_segment *seg)
{
	if (elf->is_64) {
		Elf64_Phdr p;

		image_read(elf->image, elf->phdr_offset + index * sizeof(p), &p,
			   sizeof(p));
		*seg = (struct elf_segment){
			p.p_type,   p.p_offset, p.p_vaddr, p.p_paddr,
			p.p_filesz, p.p_memsz,	p.p_align,
		};
	} else {
		Elf32_Phdr p;

		image_read(elf->image, elf->phdr_offset + index * sizeof(p), &p,
			   sizeof(p));
		*seg = (struct elf_segment){
			p.p_type,   p.p_offset, p.p_vaddr, p.p_paddr,
			p.p_filesz, p.p_memsz,	p.p_align,
		};
	}
}

void elf_load(const struct elf *elf, struct ram *ram)
{
	struct elf_segment seg;
	char what[32];

	for (unsigned int i = 0; i < elf->phdrs; i++) {
		elf_segment(elf, i, &seg);
		if (seg.type != PT_LOAD || !seg.memory_bytes)
			continue;
		snprintf(what, sizeof(what), "segment %u", i);
		image_load(elf->image, ram, what, seg.offset, seg.file_bytes,
			   seg.paddr, seg.memory_bytes);
	}
}

bool elf_contains(const struct elf *elf, uint64_t gpa)
{
	struct elf_segment seg;

	for (unsigned int i = 0; i < elf->phdrs; i++) {
		elf_segment(elf, i, &seg);
		if (seg.type == PT_LOAD && gpa >= seg.paddr &&
		    gpa - seg.paddr < seg.memory_bytes)
			return true;
	}
	return false;
}
