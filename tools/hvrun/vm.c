// SPDX-License-Identifier: GPL-2.0
/*
 * One virtual machine: KVM's VM with the interrupt controllers in the kernel,
 * memory, vCPUs.  It lives from power-on to power-off or reboot.
 *
 * Its end: the first vm_stop() sets the outcome and makes ended_fd readable;
 * the main thread then calls vm_join(), which gets every vCPU out of the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "hvrun.h"

/* Four pages just under the APICs, for Intel CPUs that need them. */
#define IDENTITY_MAP_GPA 0xfffbc000ull
#define TSS_GPA		 0xfffbd000ull

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
			die("/dev/kvm is not the KVM that hvrun knows");
		return fd;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		die("no /dev/kvm: load kvm_amd or kvm_intel, "
		    "and turn virtualization on in the firmware");
	if (errno == EACCES || errno == EPERM)
		die("no permission for /dev/kvm: join its group with "
		    "'sudo usermod -aG kvm $USER' and log in again");
	die("/dev/kvm: %s", strerror(errno));
}

static void check_ram_bytes(uint64_t bytes, unsigned int address_bits)
{
	uint64_t most, addressable = (1ull << address_bits) - GIB;
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		die("sysinfo: %s", strerror(errno));
	most = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
	if (most > addressable)
		most = addressable;
	if (bytes > most)
		die("too much memory: --mem can be at most %lluM on this host",
		    (unsigned long long)(most / MIB));
}

static void check_cpus(int kvm_fd, unsigned int cpus)
{
	int most = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (most < 1)
		most = 4; /* what KVM's documentation says of such hosts */
	if (cpus > (unsigned int)most)
		die("too many CPUs: --cpus can be at most %d on this host",
		    most);
}

static void create_kvm_vm(struct vm *vm)
{
	uint64_t identity_map = IDENTITY_MAP_GPA;

	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		die("KVM makes no VM: %s%s", strerror(errno),
		    errno == EBUSY ? "; does another hypervisor run?" : "");
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
		die("KVM refuses the addresses of its own pages: %s",
		    strerror(errno));
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		die("KVM makes no interrupt controllers: %s", strerror(errno));
}

/* IDs above 254 need addresses that do not fit in 8 bits. */
static void enable_wide_apic_ids(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS |
			  KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
		die("%u CPUs need x2APIC, which KVM refuses: %s", vm->cpus,
		    strerror(errno));
}

static void add_memory(struct vm *vm, uint32_t slot, uint64_t gpa,
		       uint64_t bytes, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)host,
	};

	if (bytes && ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		die("KVM refuses %llu MiB of memory: %s; try a smaller --mem",
		    (unsigned long long)(bytes / MIB), strerror(errno));
}

void vm_create(struct vm *vm, uint64_t ram_bytes, unsigned int cpus,
	       const char *kernel, const char *initrd, char **args)
{
	struct boot boot = { .ram = &vm->ram, .args = args, .initrd = initrd };
	struct cpuid *cpuid;
	int run_bytes;

	memset(vm, 0, sizeof(*vm));
	vm->cpus = cpus;
	atomic_init(&vm->outcome, VM_RUNNING);
	vm->kvm_fd = open_kvm();
	check_cpus(vm->kvm_fd, cpus);
	cpuid = cpuid_create(vm->kvm_fd, cpus);
	check_ram_bytes(ram_bytes, cpuid_address_bits(cpuid));

	ram_create(&vm->ram, ram_bytes);
	boot.rsdp = acpi_create(&vm->ram, cpus);
	boot.gigabyte_pages = cpuid_has_gigabyte_pages(cpuid);
	kernel_load(kernel, &boot);

	create_kvm_vm(vm);
	if (cpus > 255)
		enable_wide_apic_ids(vm);
	add_memory(vm, 0, 0, vm->ram.low_bytes, vm->ram.host);
	add_memory(vm, 1, RAM_HIGH_START, vm->ram.bytes - vm->ram.low_bytes,
		   vm->ram.host + vm->ram.low_bytes);

	vm->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->vcpus = calloc(cpus, sizeof(*vm->vcpus));
	if (vm->ended_fd < 0 || run_bytes < 0 || !vm->vcpus)
		die("cannot make vCPUs: %s", strerror(errno));
	vm->run_bytes = run_bytes;
	for (unsigned int id = 0; id < cpus; id++)
		vcpu_create(&vm->vcpus[id], vm, id, cpuid);
	vcpu_enter_at(&vm->vcpus[0], &boot);
	free(cpuid);
}

void vm_start(struct vm *vm)
{
	for (unsigned int id = 0; id < vm->cpus; id++)
		vcpu_start(&vm->vcpus[id]);
}

void vm_stop(struct vm *vm, int outcome)
{
	int running = VM_RUNNING;
	uint64_t one = 1;

	if (!atomic_compare_exchange_strong(&vm->outcome, &running, outcome))
		return;
	if (write(vm->ended_fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd takes its first 1 */
}

void vm_join(struct vm *vm)
{
	for (unsigned int id = 0; id < vm->cpus; id++)
		vcpu_join(&vm->vcpus[id]);
}

void vm_destroy(struct vm *vm)
{
	for (unsigned int id = 0; id < vm->cpus; id++)
		vcpu_destroy(&vm->vcpus[id]);
	free(vm->vcpus);
	close(vm->ended_fd);
	close(vm->fd);
	close(vm->kvm_fd);
	ram_destroy(&vm->ram);
}
