/* SPDX-License-Identifier: MIT */
/*
 * Where the CPU arrives on an exception: one entry of 16 bytes for each of the
 * 32 vectors, which make the stack look the same for all: struct trap_frame.
 */
#define ENTRY_BYTES 16
#define HAS_ERROR_CODE 0x60227d00 /* vectors 8, 10 to 14, 17, 21, 29, 30 */

	.text
	.balign	ENTRY_BYTES
	.globl	trap_entries
trap_entries:
	vector = 0
	.rept	32
	.if	(HAS_ERROR_CODE >> vector & 1) == 0
	pushq	$0
	.endif
	pushq	$vector
	jmp	common
	.balign	ENTRY_BYTES
	vector = vector + 1
	.endr

common:
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%rbp
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	movq	%rsp, %rdi
	call	trap			/* does not return */

/* void trap_load(const struct table *gdt, const struct table *idt) */
	.globl	trap_load
trap_load:
	lgdt	(%rdi)
	lidt	(%rsi)
	movl	$0x10, %eax		/* the data segment of our GDT */
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	popq	%rax
	pushq	$0x08			/* the code segment */
	pushq	%rax
	lretq

	.section .note.GNU-stack, "", @progbits
