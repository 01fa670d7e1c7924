// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel says of its network interfaces, by rtnetlink(7): of one that
 * is asked for, and of each that changes.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hvrun.h"

#define MESSAGE_BYTES 32768 /* as the kernel's own limit for one */

static int open_netlink(uint32_t groups, int flags)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = groups,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags,
			NETLINK_ROUTE);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("cannot ask the kernel for network interfaces: %s",
		    strerror(errno));
	return fd;
}

static void parse_tun(const struct rtattr *data, struct link *link)
{
	const struct rtattr *a = RTA_DATA(data);
	int left = RTA_PAYLOAD(data);

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		uint8_t value = RTA_PAYLOAD(a) ? *(uint8_t *)RTA_DATA(a) : 0;

		if (a->rta_type == IFLA_TUN_TYPE && value == IFF_TAP)
			link->kind = LINK_TAP;
		else if (a->rta_type == IFLA_TUN_MULTI_QUEUE)
			link->multi_queue = value;
		else if (a->rta_type == IFLA_TUN_PI)
			link->packet_info = value;
	}
}

static void parse_kind(const struct rtattr *info, struct link *link)
{
	const struct rtattr *a = RTA_DATA(info), *data = NULL;
	int left = RTA_PAYLOAD(info);
	const char *kind = "";

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_INFO_KIND)
			kind = RTA_DATA(a);
		else if (a->rta_type == IFLA_INFO_DATA)
			data = a;
	}
	if (!strcmp(kind, "macvtap"))
		link->kind = LINK_MACVTAP;
	else if (!strcmp(kind, "tun") && data)
		parse_tun(data, link);
}

/* False: the message is not about an interface, or only about its bridge. */
static bool parse_link(const struct nlmsghdr *message, struct link *link)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	const struct rtattr *a = IFLA_RTA(info);
	int left = IFLA_PAYLOAD(message);

	if ((message->nlmsg_type != RTM_NEWLINK &&
	     message->nlmsg_type != RTM_DELLINK) ||
	    info->ifi_family != AF_UNSPEC)
		return false;
	*link = (struct link){
		.index = info->ifi_index,
		.up = info->ifi_flags & IFF_UP,
		.gone = message->nlmsg_type == RTM_DELLINK,
	};
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_MTU)
			memcpy(&link->mtu, RTA_DATA(a), sizeof(link->mtu));
		else if (a->rta_type == IFLA_ADDRESS &&
			 RTA_PAYLOAD(a) == sizeof(link->mac))
			memcpy(link->mac, RTA_DATA(a), sizeof(link->mac));
		else if (a->rta_type == IFLA_LINKINFO)
			parse_kind(a, link);
	}
	return true;
}

/* By @name or, if that is NULL, by @index. */
static bool ask(const char *name, int index, struct link *link)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attribute;
		char name[IFNAMSIZ];
	} request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(request.info)),
			    .nlmsg_type = RTM_GETLINK,
			    .nlmsg_flags = NLM_F_REQUEST },
		.info = { .ifi_index = index },
	};
	_Alignas(struct nlmsghdr) char answer[MESSAGE_BYTES];
	ssize_t bytes;
	int fd;

	if (name) {
		request.header.nlmsg_len = sizeof(request);
		request.attribute.rta_type = IFLA_IFNAME;
		request.attribute.rta_len = RTA_LENGTH(IFNAMSIZ);
		strncpy(request.name, name, IFNAMSIZ - 1);
	}
	fd = open_netlink(0, 0);
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
		die("cannot ask the kernel for network interfaces: %s",
		    strerror(errno));
	bytes = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	return bytes > 0 && NLMSG_OK((struct nlmsghdr *)answer, bytes) &&
	       parse_link((struct nlmsghdr *)answer, link);
}

bool link_get(const char *name, struct link *link)
{
	return ask(name, 0, link);
}

bool link_get_again(struct link *link)
{
	return ask(NULL, link->index, link);
}

int link_watch(void)
{
	return open_netlink(RTMGRP_LINK, SOCK_NONBLOCK);
}

bool link_changes(int fd, void (*changed)(const struct link *link, void *arg),
		  void *arg)
{
	_Alignas(struct nlmsghdr) char messages[MESSAGE_BYTES];
	struct link link;
	ssize_t bytes;

	while ((bytes = recv(fd, messages, sizeof(messages), 0)) > 0) {
		struct nlmsghdr *m = (struct nlmsghdr *)messages;

		for (; NLMSG_OK(m, bytes); m = NLMSG_NEXT(m, bytes))
			if (parse_link(m, &link))
				changed(&link, arg);
	}
	return errno != ENOBUFS;
}
