// SPDX-License-Identifier: GPL-2.0
/*
 * load: attaches what is in an object file, whatever it is, until Ctrl-C.
 *
 * Programs are attached by what their section says, and each struct hcall_ops
 * as a whole.  The kernel detaches all of it when this process ends, however it
 * ends.  What is wrong libbpf says on stderr, and then this in short.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <linux/kvm_hcall_bpf.h>

#define MAX_LINKS 32

static struct pollfd fds[1 + MAX_LINKS]; /* signals, then the links */
static const char *names[1 + MAX_LINKS];
static int n = 1;

static int add_link(const char *name, struct bpf_link *link)
{
	if (!link || n == 1 + MAX_LINKS)
		return -1;
	names[n] = name;
	/* No event is asked for: POLLHUP comes unasked. */
	fds[n++].fd = bpf_link__fd(link);
	printf("%s: attached\n", name);
	return 0;
}

static int attach(struct bpf_object *object)
{
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS &&
		    add_link(bpf_map__name(map),
			     bpf_map__attach_struct_ops(map)))
			return -1;
	}
	bpf_object__for_each_program(program, object)
	{
		if (bpf_program__type(program) != BPF_PROG_TYPE_STRUCT_OPS &&
		    add_link(bpf_program__name(program),
			     bpf_program__attach(program)))
			return -1;
	}
	return 0;
}

/* libbpf has no words for these. */
static const char *missing(void)
{
	if (geteuid())
		return "only root may load programs";
	if (access("/sys/kernel/btf/kvm_hcall", F_OK))
		return "the module kvm_hcall is not loaded, or has no BTF";
	return NULL;
}

/* Return: main()'s. */
static int failed(const char *path, const char *action)
{
	fprintf(stderr, "load: %s: cannot %s: %s\n", path, action,
		strerror(errno));
	return 1;
}

/* See ejected.h. */
static void tell_why(struct bpf_object *object, const char *name)
{
	char text[HCALL_EJECTION_TEXT_BYTES] = "";
	struct bpf_map *map = bpf_object__find_map_by_name(object, "ejection");
	__u32 zero = 0;

	if (map)
		bpf_map_lookup_elem(bpf_map__fd(map), &zero, text);
	fprintf(stderr, "%s: taken out by the module%s%s\n", name,
		*text ? ": " : "", text);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	sigset_t mask;

	if (argc != 2) {
		fprintf(stderr, "usage: load FILE.bpf.o\n");
		return 2;
	}
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	fds[0].fd = signalfd(-1, &mask, SFD_CLOEXEC);
	fds[0].events = POLLIN;

	if (missing()) {
		fprintf(stderr, "load: %s\n", missing());
		return 1;
	}
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return failed(argv[1], "open it");
	if (bpf_object__load(object))
		return failed(argv[1], "load it");
	if (attach(object))
		return failed(argv[1], "attach it");
	fflush(stdout);

	while (poll(fds, n, -1) < 0)
		if (errno != EINTR)
			return 1;
	for (int i = 1; i < n; i++) {
		if (fds[i].revents) {
			tell_why(object, names[i]);
			return 1;
		}
	}
	return 0;
}
