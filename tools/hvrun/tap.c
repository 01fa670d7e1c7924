// SPDX-License-Identifier: GPL-2.0
/*
 * Taps and macvtaps, by name or as a descriptor from whoever started us.  The
 * interface has to be there: making it, and connecting it to something, is the
 * administrator's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hvrun.h"

#define TUN_DEVICE     makedev(10, 200) /* /dev/net/tun; macvtaps have others */
#define STALE_FRAMES   4096 /* more than the queue of a tap has by default */
#define TAP_FRAME_KIND (IFF_TAP | IFF_NO_PI)

static int open_tun(const struct net *net, const struct link *link)
{
	struct ifreq request = {
		.ifr_flags = TAP_FRAME_KIND | IFF_VNET_HDR |
			     (link->multi_queue ? IFF_MULTI_QUEUE : 0),
	};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		die("net %s: /dev/net/tun: %s; be root, or have root open it to all "
		    "(chmod 666 /dev/net/tun) and make the tap yours "
		    "(ip tuntap add %s mode tap user NAME), or use --net %s=user",
		    net->name, strerror(errno), net->interface, net->name);
	if (fd < 0)
		die("net %s: /dev/net/tun: %s%s", net->name, strerror(errno),
		    errno == ENOENT || errno == ENODEV
			    ? "; load its driver with: sudo modprobe tun"
			    : "");
	strcpy(request.ifr_name, net->interface);
	if (ioctl(fd, TUNSETIFF, &request) == 0)
		return fd;
	if (errno == EBUSY)
		die("net %s: %s is in use by another program, or by another --net",
		    net->name, net->interface);
	if (errno == EPERM)
		die("net %s: %s is not yours; as root, make it with: "
		    "ip tuntap add %s mode tap user NAME",
		    net->name, net->interface, net->interface);
	die("net %s: %s: %s", net->name, net->interface, strerror(errno));
}

static int open_macvtap(const struct net *net, const struct link *link)
{
	struct ifreq request = { .ifr_flags = TAP_FRAME_KIND | IFF_VNET_HDR };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/tap%d", link->index);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		die("net %s: %s, the device of %s: %s%s", net->name, path,
		    net->interface, strerror(errno),
		    errno == EACCES ? "; root can give it to you with chown"
				    : "");
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		die("net %s: %s: %s", net->name, path, strerror(errno));
	return fd;
}

static void set_header(const struct net *net, int fd)
{
	const int header_bytes = sizeof(struct hcall_net_header);

	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		die("net %s: %s takes no header of %d bytes: %s", net->name,
		    net->interface, header_bytes, strerror(errno));
}

static int open_queue(const struct net *net, const struct link *link)
{
	int fd = link->kind == LINK_TAP ? open_tun(net, link)
					: open_macvtap(net, link);

	set_header(net, fd);
	return fd;
}

/* A tap that was made for it has one for each CPU, unless somebody says another. */
static void choose_queues(struct net *net, const struct link *link,
			  unsigned int cpus)
{
	if (!net->queues && link->multi_queue)
		net->queues = cpus < NET_QUEUES_MAX ? cpus : NET_QUEUES_MAX;
	else if (!net->queues)
		net->queues = 1;
	if (net->queues > 1 && link->kind == LINK_TAP && !link->multi_queue)
		die("net %s: %s has one queue; to have more, as root: "
		    "ip link del %s; ip tuntap add %s mode tap multi_queue user NAME",
		    net->name, net->interface, net->interface, net->interface);
}

/* Without a name the kernel would make a new interface: that is not wanted. */
static void open_by_name(struct net *net, struct link *link, unsigned int cpus)
{
	if (!link_get(net->interface, link))
		die("net %s: there is no interface %s; make it with: sudo sh -c "
		    "'ip tuntap add %s mode tap user %d && ip link set %s up'",
		    net->name, net->interface, net->interface, getuid(),
		    net->interface);
	if (link->kind != LINK_TAP && link->kind != LINK_MACVTAP)
		die("net %s: %s is neither a tap nor a macvtap; "
		    "bridge a tap with it, or make a macvtap on top of it",
		    net->name, net->interface);
	choose_queues(net, link, cpus);
	net->fd = open_queue(net, link);
	for (unsigned int i = 0; i < net->queues - 1; i++)
		net->more[i] = open_queue(net, link);
	net->vnet_hdr = true;
}

static void take_descriptor(struct net *net, struct link *link)
{
	struct ifreq request = { 0 }, address = { 0 };
	struct stat st;

	if (fcntl(net->fd, F_GETFD) < 0)
		die("net %s: descriptor %d is not open; "
		    "in a shell, add for example: %d<>/dev/tapN",
		    net->name, net->fd, net->fd);
	if (fstat(net->fd, &st) < 0 || ioctl(net->fd, TUNGETIFF, &request) < 0)
		die("net %s: descriptor %d is neither a tap nor a macvtap",
		    net->name, net->fd);
	if ((fcntl(net->fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		die("net %s: descriptor %d is not open for reading and writing",
		    net->name, net->fd);
	fcntl(net->fd, F_SETFD, FD_CLOEXEC);
	net->vnet_hdr = request.ifr_flags & IFF_VNET_HDR;
	net->interface = strndup(request.ifr_name, IFNAMSIZ);
	if (!net->interface)
		die("out of memory");
	/*
	 * It may be from another network namespace, where we do not see it, but
	 * perhaps another one of that name: the address tells.
	 */
	if (ioctl(net->fd, SIOCGIFHWADDR, &address) < 0 ||
	    !link_get(net->interface, link) ||
	    memcmp(link->mac, address.ifr_hwaddr.sa_data, sizeof(link->mac))) {
		note("net %s: %s is not in this network namespace: its link "
		     "is taken to be up, with an MTU of %u",
		     net->name, net->interface, NET_MTU);
		*link = (struct link){ .up = true, .mtu = NET_MTU };
		memcpy(link->mac, address.ifr_hwaddr.sa_data,
		       sizeof(link->mac));
	}
	/* TUNGETIFF says IFF_NO_PI of taps without a filter, too: same bit. */
	if ((request.ifr_flags & TAP_FRAME_KIND) != TAP_FRAME_KIND ||
	    link->packet_info)
		die("net %s: descriptor %d does not carry plain Ethernet frames; "
		    "it has to be opened with IFF_TAP and IFF_NO_PI",
		    net->name, net->fd);
	if (st.st_rdev != TUN_DEVICE)
		link->kind = LINK_MACVTAP;
	if (net->vnet_hdr)
		set_header(net, net->fd);
	net->queues = 1;
}

void tap_open(struct net *net, struct link *link, unsigned int cpus)
{
	if (net->kind == NET_TAP)
		open_by_name(net, link, cpus);
	else
		take_descriptor(net, link);
}

static void drain(int fd)
{
	static uint8_t frame[HCALL_NET_MAX_BYTES + 64];
	struct pollfd ready = { fd, POLLIN, 0 };

	for (int i = 0; i < STALE_FRAMES && poll(&ready, 1, 0) > 0; i++)
		if (read(fd, frame, sizeof(frame)) <= 0)
			return;
}

/*
 * A kernel that has not asked for it must not get what the one before it had:
 * offloads, and frames that came with them.
 */
void tap_reset(const struct net *net)
{
	if (net->vnet_hdr && ioctl(net->fd, TUNSETOFFLOAD, 0) < 0)
		die("net %s: the offloads of %s cannot be turned off: %s",
		    net->name, net->interface, strerror(errno));
	drain(net->fd);
	for (unsigned int i = 0; i < net->queues - 1; i++)
		drain(net->more[i]);
}
