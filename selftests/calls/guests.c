// SPDX-License-Identifier: GPL-2.0
/*
 * What programs of guests have in common, see guests.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guests.h"

jmp_buf test_failed;

struct vm vm;
int to_console, to_input, to_net;

void start(void)
{
	vm_new(&vm);
	vm_bind(&vm);
}

uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

static void new_pipe(int *p, int flags)
{
	NEED(!pipe2(p, O_CLOEXEC | O_NONBLOCK | flags));
}

/* A device with a pipe each way.  Return: the end that feeds it. */
static int add_device(struct kvm_hcall_add *add, int flags)
{
	int in[2], out[2];

	new_pipe(in, flags);
	new_pipe(out, flags);
	add->fd = out[1];
	add->fd_in = in[0];
	CHECK_EQ(vm_add_device(&vm, add), 0);
	return in[1];
}

void add_devices(void)
{
	static struct kvm_hcall_input description = { .name = "seven keys" };
	struct kvm_hcall_add console = { .class_id = HCALL_CLASS_CONSOLE,
					 .name = "tty",
					 .columns = 80,
					 .rows = 25 };
	struct kvm_hcall_add input = { .class_id = HCALL_CLASS_INPUT,
				       .name = "keys",
				       .input = (uintptr_t)&description };
	struct kvm_hcall_add net = { .class_id = HCALL_CLASS_NET,
				     .name = "n0",
				     .mtu = 1500,
				     .mac = { 2, 'x', 'y', 'z', 'a', 'b' } };

	description.codes[EV_KEY][0] = 0xfe;
	description.codes[EV_LED][0] = 7;
	to_console = add_device(&console, 0);
	to_input = add_device(&input, 0);
	to_net = add_device(&net, O_DIRECT);
}

int64_t call_forwarded(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
		       uint64_t d, int64_t answer)
{
	struct vcpu *vcpu = &vm.vcpu[0];
	struct kvm_regs regs;

	call_set(vcpu, nr, a, b, c, d);
	CHECK_EQ(call_run(vcpu), INT64_MIN);
	CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_HYPERCALL);
	vcpu->run->hypercall.ret = answer;
	/* Into the guest, and to the end of its program. */
	NEED(!ioctl(vcpu->fd, KVM_RUN, 0));
	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
	return regs.rax;
}

static int run(void (*guest)(char **args), char **args)
{
	if (setjmp(test_failed))
		return 1;
	guest(args);
	return 0;
}

int guests_main(int argc, char **argv, const struct guest_command *commands)
{
	for (; commands->name; commands++)
		if (argc == commands->args + 2 &&
		    !strcmp(argv[1], commands->name))
			return run(commands->run, argv + 2);
	fprintf(stderr, "%s: what?  See its source.\n",
		program_invocation_short_name);
	return 2;
}
