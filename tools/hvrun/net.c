// SPDX-License-Identifier: GPL-2.0
/*
 * Network interfaces: what the command line says of them, and their links.  A
 * tap's link is up as long as the host's interface is, and has its MTU; the main
 * thread hears of changes over rtnetlink.  The link of "user" is up as long as
 * passt lives.
 */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hvrun.h"
#include "linux/kvm_hcall.h"

#define FORM                                                                    \
	"a network interface is NAME=tap:IF, NAME=fd:N or NAME=user, and then " \
	"at most ,mac=ADDRESS and ,queues=N"
#define MTU_MIN	 68u
#define MTU_MAX	 65535u
#define MAC_HINT "is no Ethernet address; say for example mac=02:00:00:00:00:01"

/* ---- The option ---------------------------------------------------------- */

static const char *parse_mac(const char *text, uint8_t *mac)
{
	unsigned int b[6];
	int end = 0;

	if (strlen(text) != 17 ||
	    strspn(text, "0123456789abcdefABCDEF:") != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2],
		   &b[3], &b[4], &b[5], &end) != 6 ||
	    end != 17)
		return "mac= " MAC_HINT;
	if (b[0] & 1)
		return "mac= has a multicast address: its first byte must be even";
	if (!(b[0] | b[1] | b[2] | b[3] | b[4] | b[5]))
		return "mac= is all zeros, which is nobody's address";
	for (int i = 0; i < 6; i++)
		mac[i] = b[i];
	return NULL;
}

static const char *parse_queues(const char *text, unsigned int *queues)
{
	uint64_t number;

	if (!spec_number(text, &number) || !number || number > NET_QUEUES_MAX)
		return "queues= is a number from 1 to 16";
	*queues = number;
	return NULL;
}

/* What follows the backend, in any order. */
static const char *parse_options(struct net *net, char *what)
{
	const char *value, *mistake = NULL;

	while (!mistake) {
		value = spec_take_value(what, ",mac=");
		if (value) {
			mistake = net->has_mac ? "mac= can be there only once"
					       : parse_mac(value, net->mac);
			net->has_mac = true;
			continue;
		}
		value = spec_take_value(what, ",queues=");
		if (!value)
			break;
		mistake = net->queues ? "queues= can be there only once"
				      : parse_queues(value, &net->queues);
	}
	return mistake;
}

static const char *parse_backend(struct net *net, char *what)
{
	uint64_t number;

	if (!strncmp(what, "tap:", 4) && what[4]) {
		net->kind = NET_TAP;
		net->interface = what + 4;
		if (strpbrk(net->interface, "/, "))
			return "after tap: there has to be the name of an interface, "
			       "and then at most ,mac=ADDRESS and ,queues=N";
		if (strlen(net->interface) >= IFNAMSIZ)
			return "the name of an interface has at most 15 characters";
		return NULL;
	}
	if (!strncmp(what, "fd:", 3) && what[3] >= '0' && what[3] <= '9') {
		net->kind = NET_FD;
		if (!spec_number(what + 3, &number) ||
		    number <= STDERR_FILENO || number > 1000000)
			return "after fd: there has to be the number of a descriptor, "
			       "3 or more, and then at most ,mac=ADDRESS";
		net->fd = number;
		return NULL;
	}
	net->kind = NET_USER;
	if (strcmp(what, "user"))
		return FORM;
	return NULL;
}

const char *net_parse(const char *spec, struct nets *nets)
{
	struct net *net = calloc(1, sizeof(*net)), **last = &nets->first;
	const char *mistake;
	char *what;

	if (!net)
		die("out of memory");
	net->fd = net->fd_in = -1;
	mistake = spec_name(spec, FORM, net->name, &what);
	if (mistake)
		return mistake;
	mistake = parse_options(net, what);
	if (!mistake)
		mistake = parse_backend(net, what);
	if (!mistake && net->queues && net->kind != NET_TAP)
		mistake = "queues= goes with tap: only";
	if (mistake)
		return mistake;
	for (; *last; last = &(*last)->next) {
		if (!strcmp((*last)->name, net->name))
			return "another network interface has this name already";
		if (net->kind == NET_FD && (*last)->fd == net->fd)
			return "another network interface has this descriptor already";
	}
	*last = net;
	return NULL;
}

/* ---- Addresses ----------------------------------------------------------- */

static uint64_t hash(uint64_t h, const char *text)
{
	do {
		h = (h ^ (uint8_t)*text) * 0x100000001b3; /* FNV-1a */
	} while (*text++);
	return h;
}

/*
 * The same at each start, and another one for each host, interface of the host
 * and NAME.  Two VMs that run at once cannot have the same tap; each "user" is a
 * network of its own.
 */
static void make_mac(struct net *net)
{
	char host[64] = "";
	FILE *id = fopen("/etc/machine-id", "re");
	uint64_t h;

	if (!id || !fgets(host, sizeof(host), id))
		gethostname(host, sizeof(host) - 1);
	if (id)
		fclose(id);
	h = hash(0xcbf29ce484222325, host);
	h = hash(h, net->interface ? net->interface : "");
	h = hash(h, net->name);
	net->mac[0] = 0x02; /* locally administered, of one station */
	for (int i = 1; i < 6; i++)
		net->mac[i] = h >> (8 * i);
}

static void print_mac(char *text, const uint8_t *mac)
{
	sprintf(text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
}

/* A macvtap takes no frames but those for its own address. */
static void choose_mac(struct net *net, const struct link *link)
{
	char want[18], has[18];

	if (link && link->kind == LINK_MACVTAP && !net->has_mac) {
		memcpy(net->mac, link->mac, sizeof(net->mac));
	} else if (!net->has_mac) {
		make_mac(net);
	} else if (link && link->kind == LINK_MACVTAP &&
		   memcmp(net->mac, link->mac, sizeof(net->mac))) {
		print_mac(want, net->mac);
		print_mac(has, link->mac);
		die("net %s: the macvtap %s gets only what is for %s: leave out ,mac= "
		    "or, as root: ip link set dev %s address %s",
		    net->name, net->interface, has, net->interface, want);
	}
}

static void check_mac(const struct nets *nets, const struct net *net)
{
	char mac[18];

	for (const struct net *n = nets->first; n != net; n = n->next) {
		if (memcmp(n->mac, net->mac, sizeof(net->mac)))
			continue;
		print_mac(mac, net->mac);
		die("net %s: net %s has the address %s already; "
		    "each needs one of its own",
		    net->name, n->name, mac);
	}
}

/* ---- Links --------------------------------------------------------------- */

static uint16_t guest_mtu(uint32_t mtu)
{
	if (mtu < MTU_MIN)
		return MTU_MIN;
	return mtu < MTU_MAX ? mtu : MTU_MAX;
}

struct change {
	const struct nets *nets;
	int hcall_fd;
};

static void set_link(struct net *net, bool up, uint16_t mtu, int hcall_fd)
{
	if (net->up == up && net->mtu == mtu)
		return;
	net->up = up;
	net->mtu = mtu;
	note("net %s: the link is %s, MTU %u", net->name, up ? "up" : "down",
	     mtu);
	hcall_set_link(hcall_fd, net);
}

static void link_changed(const struct link *link, void *arg)
{
	struct change *change = arg;

	for (struct net *n = change->nets->first; n; n = n->next) {
		if (!n->ifindex || n->ifindex != link->index)
			continue;
		if (link->gone) {
			say("net %s: %s is gone", n->name, n->interface);
			n->ifindex = 0;
			set_link(n, false, n->mtu, change->hcall_fd);
		} else {
			set_link(n, link->up, guest_mtu(link->mtu),
				 change->hcall_fd);
		}
	}
}

/* We were told of more than we could keep: look again. */
static void look_again(struct change *change)
{
	struct link link;

	for (struct net *n = change->nets->first; n; n = n->next) {
		if (!n->ifindex)
			continue;
		link = (struct link){ .index = n->ifindex };
		link.gone = !link_get_again(&link);
		link_changed(&link, change);
	}
}

int nets_poll(const struct nets *nets, struct pollfd *fds)
{
	int n = 0;

	if (!nets->first)
		return 0;
	fds[n++] = (struct pollfd){ nets->links_fd, POLLIN, 0 };
	fds[n++] = (struct pollfd){ nets->ended_fd, POLLIN, 0 };
	return n;
}

void nets_relay(struct nets *nets, const struct pollfd *fds, int count,
		int hcall_fd)
{
	struct change change = { nets, hcall_fd };
	uint64_t ended;

	for (int i = 0; i < count; i++) {
		if (!fds[i].revents)
			continue;
		if (fds[i].fd == nets->links_fd) {
			if (!link_changes(nets->links_fd, link_changed,
					  &change))
				look_again(&change);
		} else if (read(nets->ended_fd, &ended, sizeof(ended)) > 0) {
			for (struct net *n = nets->first; n; n = n->next)
				if (n->passt && passt_ended(n->passt))
					set_link(n, false, n->mtu, hcall_fd);
		}
	}
}

/* ---- Life ---------------------------------------------------------------- */

static void net_open(struct net *net, int ended_fd, unsigned int cpus)
{
	struct link link;

	if (net->kind == NET_USER) {
		net->passt = passt_start(net->name, ended_fd);
		passt_fds(net->passt, &net->fd, &net->fd_in);
		net->up = true;
		net->mtu = NET_MTU;
		net->queues = 1;
		choose_mac(net, NULL);
		return;
	}
	tap_open(net, &link, cpus);
	net->ifindex = link.index;
	net->up = link.up;
	net->mtu = guest_mtu(link.mtu);
	choose_mac(net, &link);
	if (!net->vnet_hdr)
		return;
	net->buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (net->buffer == MAP_FAILED)
		die("out of memory");
}

void nets_open(struct nets *nets, unsigned int cpus)
{
	if (!nets->first)
		return;
	/* Before we look at any, so that no change is missed. */
	nets->links_fd = link_watch();
	nets->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (nets->ended_fd < 0)
		die("eventfd: %s", strerror(errno));
	for (struct net *n = nets->first; n; n = n->next) {
		net_open(n, nets->ended_fd, cpus);
		check_mac(nets, n);
	}
}

void nets_add(const struct nets *nets, int hcall_fd)
{
	char mac[18];

	for (struct net *n = nets->first; n; n = n->next) {
		if (!n->passt)
			tap_reset(n);
		hcall_add_net(hcall_fd, n);
		print_mac(mac, n->mac);
		note("net %s is unit %u: %s, address %s, MTU %u, %u queue%s",
		     n->name, n->unit, n->interface ? n->interface : "passt",
		     mac, n->mtu, n->queues, n->queues > 1 ? "s" : "");
		if (!n->up)
			hcall_set_link(hcall_fd, n);
	}
}

void nets_close(struct nets *nets)
{
	for (struct net *n = nets->first; n; n = n->next)
		if (n->passt)
			passt_stop(n->passt);
}
