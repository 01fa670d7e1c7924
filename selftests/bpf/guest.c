// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that makes the calls it is told to, for selftests/bpf/top and guard.
 *
 * usage: guest [OPTION...] CALL...
 *
 * CALL is DOOR:NUMBER:A:B:C:D, with DOOR register, batch or async, and what is
 * left out at the end is 0; NUMBER*N: N times.  The results are printed, one a
 * line.  Guest memory for data begins at 0x200000, and there SENDV finds four
 * frames of 1000 bytes at 0x300000.
 *
 *	-b NAME=PATH	add a disk; also repeatedly
 *	-t NAME		add a network interface, which is the tap NAME
 *	-s SECONDS	a program in the guest makes CALL, only one, over and over
 *	-W SECONDS	... after it has done so for this time, not counted
 *	-v N		in so many VMs at once
 *	-p N		on so many vCPUs of each
 *	-w		wait for a line of input before the first CALL
 *
 * With -s a line for each VM is printed: the seconds it took, how many calls
 * were good, answered with EAGAIN, and with another error; the bytes and calls of
 * the class as the module has counted them; and the longest time that a vCPU was
 * away for, which is more than its few calls take if the host has little time.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm.h"

#define FRAMES	    (RAM + 0x100000)
#define FRAME_BYTES 1000
#define OPS	    16 /* of a batch that is made over and over */
#define MAX_VMS	    4
/* Of vCPU i; behind what calls move. */
#define LOOP(i)	    (RAM2 + (i)*0x1000)

jmp_buf test_failed;

static struct vm vms[MAX_VMS];

/* Static, as main() is come back to by a longjmp(). */
static const char *disks[8], *tap;
static int nr_disks, nr_vms = 1, vcpus = 1;
static double seconds, warm_up;
static bool waits;

struct spec {
	enum door door;
	uint32_t nr;
	uint64_t args[4];
	uint64_t times;
};

/* What the program in the guest does, and has done. */
struct loop {
	uint32_t nr;
	uint32_t ops; /* 0: by register; else elements of a batch at @op */
	uint64_t args[4];
	uint64_t good;
	uint64_t again;
	uint64_t failed;
	uint64_t ns; /* what all that took; the host's */
	uint64_t longest_ns; /* without a call's end that the host has seen */
	struct hcall_op op[OPS];
};

static struct spec parse(char *text)
{
	static const char *const doors[] = { "register", "batch", "async" };
	struct spec spec = { .times = 1 };
	char *word = strsep(&text, ":");
	char *number = strsep(&text, ":");
	char *times;

	for (spec.door = 0; spec.door < DOORS; spec.door++)
		if (!strcmp(word, doors[spec.door]))
			break;
	NEED(spec.door < DOORS && number);
	spec.nr = strtoul(number, &times, 0);
	if (*times == '*')
		spec.times = strtoul(times + 1, NULL, 0);
	for (int i = 0; i < 4 && text; i++)
		spec.args[i] = strtoull(strsep(&text, ":"), NULL, 0);
	return spec;
}

/* Copied from the host into guest memory, so that each call of a VM finds it. */
static void fill_frames(struct vm *vm)
{
	struct hcall_frame *frame = at(vm, FRAMES);

	for (int i = 0; i < 4; i++)
		frame[i] = (struct hcall_frame){ .gpa = FRAMES + 4096 * (i + 1),
						 .bytes = FRAME_BYTES };
}

static void add_tap(struct vm *vm, const char *name)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct kvm_hcall_add add = { .class_id = HCALL_CLASS_NET,
				     .name = "net",
				     .fd_in = -1,
				     .mtu = 1500,
				     .mac = { 2, 'h', 'c', 'a', 'l', 'l' } };
	int control = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	add.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	NEED(add.fd >= 0 && control >= 0);
	NEED(!ioctl(add.fd, TUNSETIFF, &req));
	req.ifr_flags = IFF_UP | IFF_RUNNING;
	NEED(!ioctl(control, SIOCSIFFLAGS, &req));
	NEED(!vm_add_device(vm, &add));
	close(add.fd);
	close(control);
}

/* ---- Over and over ------------------------------------------------------------ */

GUEST static void count(struct loop *loop, int64_t result)
{
	if (result >= 0)
		loop->good++;
	else if (result == -HCALL_EAGAIN)
		loop->again++;
	else
		loop->failed++;
}

GUEST static int64_t loop_guest(uint64_t page)
{
	struct loop *loop = (void *)page;

	for (int i = 0; i < (loop->ops ? 4 : 64); i++) {
		int64_t result =
			guest_call(loop->nr, loop->args[0], loop->args[1],
				   loop->args[2], loop->args[3]);

		if (!loop->ops)
			count(loop, result);
		else if (result != (int64_t)loop->ops)
			return 1;
		for (uint32_t j = 0; j < loop->ops; j++)
			count(loop, loop->op[j].result);
	}
	return 0;
}

static pthread_barrier_t all_ready;
static uint64_t from_ns, until_ns;

static void *loop_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	uint64_t page = LOOP(vcpu - vcpu->vm->vcpu);

	struct loop *loop = at(vcpu->vm, page);
	uint64_t start_ns = 0;

	pthread_barrier_wait(&all_ready);
	while (now_ns() < until_ns) {
		uint64_t run_ns = now_ns();

		if (!start_ns && now_ns() >= from_ns) {
			start_ns = now_ns();
			loop->good = loop->again = loop->failed = 0;
			loop->longest_ns = 0;
		}
		guest_set(vcpu, loop_guest, page, false);
		vcpu->result = guest_run(vcpu);
		NEED(!vcpu->result);
		run_ns = now_ns() - run_ns;
		if (run_ns > loop->longest_ns)
			loop->longest_ns = run_ns;
	}
	loop->ns = now_ns() - start_ns;
	return NULL;
}

static void set_loop(struct vm *vm, int vcpu, const struct spec *spec)
{
	struct loop *loop = at(vm, LOOP(vcpu));

	memset(loop, 0, sizeof(*loop));
	loop->nr = spec->nr;
	memcpy(loop->args, spec->args, sizeof(loop->args));
	if (spec->door == DOOR_REGISTER)
		return;
	NEED(spec->door == DOOR_BATCH);
	loop->ops = OPS;
	for (int i = 0; i < OPS; i++) {
		loop->op[i].number = spec->nr;
		memcpy(loop->op[i].args, spec->args, sizeof(spec->args));
	}
	loop->nr = HCALL_SYS_BATCH;
	loop->args[0] = LOOP(vcpu) + offsetof(struct loop, op);
	loop->args[1] = OPS;
	loop->args[2] = loop->args[3] = 0;
}

static void print_loops(struct vm *vm, uint32_t nr)
{
	struct kvm_hcall_stats stats = vm_stats(vm, HCALL_NR_CLASS(nr));
	uint64_t good = 0, again = 0, failed = 0, ns = 0;
	uint64_t longest_ns = 0;

	for (int i = 0; i < vcpus; i++) {
		struct loop *loop = at(vm, LOOP(i));

		good += loop->good;
		again += loop->again;
		failed += loop->failed;
		ns += loop->ns;
		if (loop->longest_ns > longest_ns)
			longest_ns = loop->longest_ns;
	}
	printf("seconds=%.3f good=%llu again=%llu failed=%llu bytes=%llu calls=%llu longest=%.3f\n",
	       ns / 1e9 / vcpus, (unsigned long long)good,
	       (unsigned long long)again, (unsigned long long)failed,
	       stats.bytes, stats.calls, longest_ns / 1e9);
}

static void over_and_over(const struct spec *spec)
{
	NEED(!pthread_barrier_init(&all_ready, NULL, nr_vms * vcpus + 1));
	for (int i = 0; i < nr_vms; i++) {
		vm_guest(&vms[i]);
		for (int j = 0; j < vcpus; j++) {
			struct vcpu *vcpu = &vms[i].vcpu[j];

			set_loop(&vms[i], j, spec);
			NEED(!pthread_create(&vcpu->thread, NULL, loop_thread,
					     vcpu));
		}
	}
	from_ns = now_ns() + (uint64_t)(warm_up * 1e9);
	until_ns = from_ns + (uint64_t)(seconds * 1e9);
	pthread_barrier_wait(&all_ready);
	for (int i = 0; i < nr_vms; i++)
		for (int j = 0; j < vcpus; j++)
			NEED(!pthread_join(vms[i].vcpu[j].thread, NULL));
	for (int i = 0; i < nr_vms; i++)
		print_loops(&vms[i], spec->nr);
}

/* ---- Once --------------------------------------------------------------------- */

static void once(struct spec spec)
{
	while (spec.times--) {
		printf("%lld\n",
		       (long long)call_door(&vms[0], spec.door, spec.nr,
					    spec.args[0], spec.args[1],
					    spec.args[2], spec.args[3]));
		/* Whoever reads this may want to know how far we are. */
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "b:t:s:W:v:p:w")) != -1) {
		switch (option) {
		case 'b':
			NEED(nr_disks < 8);
			disks[nr_disks++] = optarg;
			break;
		case 't':
			tap = optarg;
			break;
		case 's':
			seconds = atof(optarg);
			break;
		case 'W':
			warm_up = atof(optarg);
			break;
		case 'v':
			nr_vms = atoi(optarg);
			NEED(nr_vms >= 1 && nr_vms <= MAX_VMS);
			break;
		case 'p':
			vcpus = atoi(optarg);
			NEED(vcpus >= 1 && vcpus <= MAX_VCPUS);
			break;
		case 'w':
			waits = true;
			break;
		default:
			return 2;
		}
	}
	if (setjmp(test_failed))
		return 1;
	for (int i = 0; i < nr_vms; i++) {
		vm_new(&vms[i]);
		vm_bind(&vms[i]);
		fill_frames(&vms[i]);
		for (int j = 0; j < nr_disks; j++) {
			char *name = strdup(disks[j]);
			char *path = strchr(name, '=');

			NEED(path);
			*path++ = 0;
			vm_disk(&vms[i], name, path, 0);
			free(name);
		}
		if (tap)
			add_tap(&vms[i], tap);
	}
	if (waits)
		NEED(getchar() == '\n');
	if (seconds) {
		struct spec spec = parse(argv[optind]);

		over_and_over(&spec);
	} else {
		for (int i = optind; i < argc; i++)
			once(parse(argv[i]));
	}
	for (int i = 0; i < nr_vms; i++)
		vm_free(&vms[i]);
	return 0;
}
