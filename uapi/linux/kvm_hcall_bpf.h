/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hcall for BPF programs: the numbers that kvm_hcall.ko, programs and their
 * loaders share.  Types and functions for programs are in bpf/hcall.bpf.h;
 * the text is Documentation/bpf.rst.
 */
#ifndef _UAPI_LINUX_KVM_HCALL_BPF_H
#define _UAPI_LINUX_KVM_HCALL_BPF_H

#include <linux/types.h>

/* Programs (struct hcall_ops) that can be attached at once, to all VMs. */
#define HCALL_OPS_MAX	     16
#define HCALL_OPS_NAME_BYTES 32 /* with the NUL */

/*
 * struct hcall_ops.classes: a bit for classes 0 to 0x1f and 0xe0 to 0xff.  The
 * others are nobody's, and have none: only who sees all classes sees them.
 */
#define HCALL_CLASS_BIT(class_id)                                            \
	((class_id) < 0x20 || (class_id) >= 0xe0 ? 1ull << ((class_id) % 64) \
						 : 0)

/* struct hcall_ops.flags. */
#define HCALL_OPS_FAIL_CLOSED	  1 /* once ejected, what it would see is denied */

/* What enter() returns; less than 0: denied, a negated HCALL_E*. */
#define HCALL_OPS_PASS		  0
#define HCALL_OPS_ANSWERED	  1 /* the result is hcall_bpf_set_result()'s, or 0 */

#define HCALL_BPF_MAX_BYTES	  (1 << 20) /* in one hcall_bpf_read(), _write() */
#define HCALL_BPF_MAX_DELAY_NS	  1000000000 /* in one call, all delays together */

/* struct hcall_ejection.reason: why a program was taken out. */
#define HCALL_EJECTED_ENTER	  1 /* enter() returned neither of the above */
#define HCALL_EJECTED_RESULT	  2 /* less than 0, and no error of the ABI */
#define HCALL_EJECTED_VM_CLOSED	  3 /* the only VM that it is for is closed */

#define HCALL_EJECTION_TEXT_BYTES 128

/* struct hcall_bpf_vm.flags. */
#define HCALL_BPF_VM_SEALED	  1 /* KVM_HCALL_SEAL: no more devices */

/**
 * struct hcall_bpf_vm - facts of a VM, see hcall_bpf_vm()
 * @id:     as in tracepoints and struct hcall_ops
 * @pid:    process of the launcher, in the first PID namespace
 * @vcpus:  how many there are now
 * @flags:  HCALL_BPF_VM_*
 * @comm:   the launcher's name when it opened /dev/kvm-hcall; with a NUL
 */
struct hcall_bpf_vm {
	__u32 id;
	__u32 pid;
	__u32 vcpus;
	__u32 flags;
	char comm[16];
};

#endif
