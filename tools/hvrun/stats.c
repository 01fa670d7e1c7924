// SPDX-License-Identifier: GPL-2.0
/*
 * --stats and --json: what the guest's calls were and what they cost, summed
 * over its reboots.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hvrun.h"
#include "linux/kvm_hcall.h"

/* The module counts all classes that it knows nothing of together. */
static const struct {
	const char *name;
	uint32_t class_id;
} classes[STATS_CLASSES] = {
	[STATS_SYS] = { "sys", HCALL_CLASS_SYS },
	[STATS_CONSOLE] = { "console", HCALL_CLASS_CONSOLE },
	[STATS_BLOCK] = { "block", HCALL_CLASS_BLOCK },
	[STATS_TIMER] = { "timer", HCALL_CLASS_TIMER },
	[STATS_INPUT] = { "input", HCALL_CLASS_INPUT },
	[STATS_NET] = { "net", HCALL_CLASS_NET },
	[STATS_EVENT] = { "event", HCALL_CLASS_EVENT },
	[STATS_VIRTIO] = { "virtio", HCALL_CLASS_VIRTIO },
	[STATS_OTHER] = { "other", HCALL_CLASS_USER_LAST },
};

/* Resident memory of all mappings but the guest's. */
static uint64_t own_rss_kib(const struct ram *ram)
{
	uintptr_t ram_start = (uintptr_t)ram->host;
	uintptr_t ram_end = ram_start + ram->bytes;
	uintptr_t start, end;
	uint64_t kib, total = 0;
	bool own = true;
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) ==
		    2)
			own = start < ram_start || end > ram_end;
		else if (own && sscanf(line, "Rss: %" SCNu64, &kib) == 1)
			total += kib;
	}
	fclose(f);
	return total;
}

void stats_add(struct stats *stats, const struct vm *vm, int hcall_fd)
{
	uint64_t rss_kib = own_rss_kib(&vm->ram);

	for (int i = 0; i < STATS_CLASSES; i++) {
		struct kvm_hcall_stats s = { .class_id = classes[i].class_id };

		if (ioctl(hcall_fd, KVM_HCALL_STATS, &s) < 0)
			continue;
		stats->classes[i].calls += s.calls;
		stats->classes[i].errors += s.errors;
		stats->classes[i].bytes += s.bytes;
		stats->classes[i].denied += s.denied;
	}
	for (unsigned int id = 0; id < vm->cpus; id++) {
		stats->exits_user += vm->vcpus[id].exits;
		stats->switches += vm->vcpus[id].switches;
	}
	stats->boots++;
	stats->unclaimed += vm->unclaimed;
	if (rss_kib > stats->rss_kib)
		stats->rss_kib = rss_kib;
}

void stats_print(const struct stats *stats, double wall_seconds)
{
	fprintf(stderr, "%-8s %12s %12s %16s %12s\n", "class", "calls",
		"errors", "bytes", "denied");
	for (int i = 0; i < STATS_CLASSES; i++)
		if (stats->classes[i].calls)
			fprintf(stderr,
				"%-8s %12" PRIu64 " %12" PRIu64 " %16" PRIu64
				" %12" PRIu64 "\n",
				classes[i].name, stats->classes[i].calls,
				stats->classes[i].errors,
				stats->classes[i].bytes,
				stats->classes[i].denied);
	fprintf(stderr,
		"exits to userspace %" PRIu64 ", of them to nothing %" PRIu64
		"; context switches of vCPUs %" PRIu64 "\n"
		"boots %" PRIu64 "; wall seconds %.3f; "
		"resident KiB without guest memory %" PRIu64 "\n",
		stats->exits_user, stats->unclaimed, stats->switches,
		stats->boots, wall_seconds, stats->rss_kib);
}

static void add_count(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_uint64(value));
}

void stats_print_json(const struct stats *stats, double wall_seconds,
		      int status)
{
	struct json_object *root = json_object_new_object();
	struct json_object *by_class = json_object_new_object();

	json_object_object_add(root, "status", json_object_new_int(status));
	json_object_object_add(root, "wall_seconds",
			       json_object_new_double(wall_seconds));
	add_count(root, "boots", stats->boots);
	add_count(root, "exits_user", stats->exits_user);
	add_count(root, "unclaimed", stats->unclaimed);
	add_count(root, "switches", stats->switches);
	add_count(root, "rss_kib", stats->rss_kib);
	for (int i = 0; i < STATS_CLASSES; i++) {
		struct json_object *c = json_object_new_object();

		add_count(c, "calls", stats->classes[i].calls);
		add_count(c, "errors", stats->classes[i].errors);
		add_count(c, "bytes", stats->classes[i].bytes);
		add_count(c, "denied", stats->classes[i].denied);
		json_object_object_add(by_class, classes[i].name, c);
	}
	json_object_object_add(root, "classes", by_class);
	fprintf(stderr, "%s\n",
		json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN));
	json_object_put(root);
}
