/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where another CPU arrives: smp_start() copies ap_start to ap_end to 0x8000,
 * from where it goes to 64-bit mode with our page tables and calls ap_main().
 */
#define AT(symbol) (symbol - ap_start + 0x8000)
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LME 0x100
#define CR0_PG_WP_NE_MP_PE 0x80010023

	.section .rodata
	.globl	ap_start, ap_end, ap_page_tables
	.code16
ap_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	AT(gdt_table)
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	AT(ap_page_tables), %eax
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
	movl	$1, %eax
	lock xaddl %eax, ap_arrived
	movq	ap_stacks(, %rax, 8), %rsp
	movl	$ap_main, %eax
	call	*%rax
1:	hlt
	jmp	1b

	.balign	8
gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_table:
	.word	gdt_table - gdt - 1
	.long	AT(gdt)
ap_page_tables:
	.long	0			/* CR3, below 4 GiB */
ap_end:

	.section .note.GNU-stack, "", @progbits
