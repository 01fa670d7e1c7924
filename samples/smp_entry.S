/* SPDX-License-Identifier: MIT */
/*
 * Where another CPU arrives: smp_run() copies smp_entry to smp_entry_end to
 * 0x8000, from where it goes straight to 64-bit mode with our page tables.
 */
#define AT(symbol) (symbol - smp_entry + 0x8000)
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LME 0x100
#define CR0_PG_WP_NE_MP_PE 0x80010023

	.data				/* only the copy of it runs */
	.globl	smp_entry, smp_entry_end, smp_page_tables, smp_stack
	.code16
smp_entry:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	AT(gdt_table)
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	AT(smp_page_tables), %eax
	movl	%eax, %cr3
	movl	$EFER, %ecx
	movl	$EFER_LME, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$CR0_PG_WP_NE_MP_PE, %eax
	movl	%eax, %cr0
	ljmpl	$0x08, $AT(in_64)

	.code64
in_64:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	AT(smp_stack), %rsp
	movl	$smp_main, %eax		/* not relative to where we are: */
	call	*%rax			/* this is a copy */
1:	hlt
	jmp	1b

	.balign	8
smp_stack:
	.quad	0			/* smp_run() fills these in */
smp_page_tables:
	.long	0			/* CR3: below 4 GiB */
	.balign	8
gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_table:
	.word	gdt_table - gdt - 1
	.long	AT(gdt)
smp_entry_end:

	.section .note.GNU-stack, "", @progbits
