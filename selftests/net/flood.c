// SPDX-License-Identifier: GPL-2.0
/*
 * Sends UDP datagrams of 1,400 and 18 bytes as fast as it can, until SIGTERM;
 * then prints how many the kernel took.
 *
 * usage: flood ADDRESS
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void end(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct sigaction act = { .sa_handler = end };
	static char data[1400];
	unsigned long sent = 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 2 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
	    fd < 0)
		return 2;
	sigaction(SIGTERM, &act, NULL);
	memset(data, 0x55, sizeof(data));
	while (!stop) {
		size_t bytes = sent % 4 ? sizeof(data) : 18;

		if (sendto(fd, data, bytes, 0, (struct sockaddr *)&to,
			   sizeof(to)) > 0)
			sent++;
	}
	printf("%lu datagrams\n", sent);
	close(fd);
	return 0;
}
