// SPDX-License-Identifier: GPL-2.0
/*
 * Taps with several queues, see taps.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "taps.h"
#include "vmm.h"

int taps_open(const char *name, bool vnet)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int bytes = sizeof(struct hcall_net_header);
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI |
					  IFF_MULTI_QUEUE |
					  (vnet ? IFF_VNET_HDR : 0) };

	NEED(fd >= 0);
	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	NEED(!ioctl(fd, TUNSETIFF, &req));
	NEED(!vnet || !ioctl(fd, TUNSETVNETHDRSZ, &bytes));
	return fd;
}

void taps_steer(int fd)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X,
		  .dst_reg = BPF_REG_6,
		  .src_reg = BPF_REG_1 },
		{ .code = BPF_LD | BPF_ABS | BPF_B, .imm = TAPS_BYTE },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)insns,
		.insn_cnt = sizeof(insns) / sizeof(insns[0]),
		.license = (uintptr_t) "GPL",
	};
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	NEED(program >= 0);
	NEED(!ioctl(fd, TUNSETSTEERINGEBPF, &program));
	close(program);
}

void taps_listen(int packet, int queue)
{
	/* What the tap has recorded is one more. */
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_QUEUE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, queue + 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]),
				      filter };

	NEED(!setsockopt(packet, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			 sizeof(program)));
}
