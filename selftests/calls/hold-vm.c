// SPDX-License-Identifier: GPL-2.0
/*
 * Holds a VM with its vCPUs while a command runs.
 *
 * The first VM of a host makes KVM patch the scheduler's code (static keys:
 * preempt notifiers, APIC state), and the last one patches it back.  When QEMU
 * emulates several CPUs, one of them can run into the breakpoint that stands
 * there meanwhile after it is gone ("Oops: int3" in __schedule), also with the
 * module absent.  With a VM held, no test makes the first or the last one; and
 * this one is made and given up while there is only one CPU.
 *
 * usage: hold-vm COMMAND [ARGS...]
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

/* Not the first, which stays; it is no mistake if there is no other. */
static void other_cpus(const char *online)
{
	char path[64];

	for (int i = 1; i < 64; i++) {
		int fd;

		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", i);
		fd = open(path, O_WRONLY);
		if (fd < 0)
			return;
		NEED(write(fd, online, 1) == 1);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct vm vm;
	int status;
	pid_t pid;

	NEED(argc > 1);
	other_cpus("0");
	vm_new(&vm);
	other_cpus("1");
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		close(vm.fd);
		close(vm.kvm);
		for (int i = 0; i < MAX_VCPUS; i++)
			close(vm.vcpu[i].fd);
		execvp(argv[1], argv + 1);
		NEED(!"exec");
	}
	NEED(waitpid(pid, &status, 0) == pid);
	other_cpus("0");
	vm_free(&vm);
	other_cpus("1");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
