// SPDX-License-Identifier: GPL-2.0
/*
 * The network of a user: passt(1), a process beside us for each interface, turns
 * the guest's frames into sockets.  To the module go two pipes in packet mode; a
 * thread pumps between them and the stream socket that passt has, in which each
 * frame has its length before it, 32 bits, big-endian.
 *
 * Nothing piles up here.  What passt does not take stays in the guest's pipe, and
 * the guest is told.  What the guest does not take is dropped when its pipe is
 * full, as a network card does: passt must never find its socket full.  Debian
 * 12's then leaves out a frame but not its length, and nobody can tell any more
 * where the next one starts.
 *
 * passt ends when the socket closes, and so with us however we end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hvrun.h"

#define PIPE_BYTES	 (1024 * KIB) /* 256 frames; what everybody may have */
#define START_TIMEOUT_MS 10000
#define END_TIMEOUT_MS	 1000 /* from its last word or closed socket on */
#define STACK_BYTES	 (128 * KIB)
#define HEADER_BYTES	 sizeof(uint32_t)
/*
 * A packet of a pipe is at most a page.  Longer frames come all the same, if a
 * host sends UDP datagrams that are longer than the MTU allows: they are dropped,
 * as an Ethernet would.
 */
#define FRAME_MAX	 (14 + NET_MTU)
#define STREAM_MAX	 (128 * KIB) /* nothing that passt sends is longer */
/*
 * Each frame in a socket counts as some 700 bytes at least, and passt's own as
 * two.  With these sizes passt has room for an answer to all that we have sent.
 */
#define OUR_SNDBUF	 (64 * KIB)
#define PASST_SNDBUF	 (1024 * KIB) /* what we get is up to a sysctl */
#define OUT_FRAMES	 32

enum {
	FD_STOP,
	FD_LOG,
	FD_SOCKET,
	FD_FROM_GUEST,
	FDS
};

/**
 * struct passt - a process, and the thread that pumps
 * @name:       of the interface, for messages
 * @pid:        0: it has been waited for
 * @socket:     to it
 * @log:        what it says on stderr
 * @stop_fd:    eventfd: the thread shall end
 * @ended_fd:   eventfd: tells the main thread that @ended is set
 * @from_guest: our end of the pipe behind @fd_out; @to_guest: behind @fd_in
 * @out:        frames for passt, each a message of its own: passt wants to read
 *              a length in one piece; from @sent to @frames they have to be sent
 * @in:         what passt has sent, @in_bytes
 * @skip:       of @in: so many bytes belong to a frame that is dropped
 * @dropped:    frames that were too long, or for which the guest had no room
 * @confused:   it has sent what is no stream of frames
 * @said:       the last line of @log; @said_ms: when
 */
struct passt {
	const char *name;
	pid_t pid;
	int socket;
	int log;
	int stop_fd, ended_fd;
	int fd_out, fd_in;
	int from_guest, to_guest;
	pthread_t thread;
	atomic_bool ended;
	struct mmsghdr out[OUT_FRAMES];
	struct iovec out_iov[OUT_FRAMES];
	uint8_t out_data[OUT_FRAMES][HEADER_BYTES + PIPE_BUF];
	unsigned int sent, frames;
	uint8_t in[65536];
	size_t in_bytes, skip;
	uint64_t dropped;
	bool confused;
	char said[160];
	uint64_t said_ms;
};

bool passt_ended(const struct passt *p)
{
	return atomic_load(&p->ended);
}

void passt_fds(const struct passt *p, int *fd_out, int *fd_in)
{
	*fd_out = p->fd_out;
	*fd_in = p->fd_in;
}

/* ---- The process --------------------------------------------------------- */

__attribute__((noreturn)) static void exec_passt(int socket, int log, int ready)
{
	char socket_number[16], ready_path[32], mtu[16];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err;

	snprintf(socket_number, sizeof(socket_number), "%d", socket);
	snprintf(ready_path, sizeof(ready_path), "/proc/self/fd/%d", ready);
	snprintf(mtu, sizeof(mtu), "%u", NET_MTU);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	fcntl(socket, F_SETFD, 0);
	setsid(); /* what the terminal or timeout(1) sends to all is for us */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	execlp("passt", "passt", "--foreground", "--quiet", "--stderr", "--mtu",
	       mtu, "--pid", ready_path, "--fd", socket_number, NULL);
	err = -errno;
	if (write(ready, &err, sizeof(err)) != sizeof(err))
		_exit(HVRUN_FAILED);
	_exit(HVRUN_FAILED);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Keep the last line that was said; pass all of them on with -v. */
static void take_log(struct passt *p)
{
	char text[1024], *line, *rest = text;
	ssize_t bytes = read(p->log, text, sizeof(text) - 1);

	if (bytes <= 0) {
		close(p->log);
		p->log = -1;
		return;
	}
	text[bytes] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		snprintf(p->said, sizeof(p->said), "%s", line);
		p->said_ms = now_ms();
		note("net %s: passt: %s", p->name, line);
	}
}

/*
 * End it: there is nothing that it has to finish.  But if it should be ending by
 * itself, see for up to @timeout_ms how.  Return: its status, -1: we killed it.
 */
static int end_process(struct passt *p, unsigned int timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;
	int status;
	pid_t ended;

	while (!(ended = waitpid(p->pid, &status, WNOHANG)) &&
	       now_ms() < deadline)
		usleep(1000);
	if (!ended) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->pid = 0;
	while (p->log >= 0)
		take_log(p);
	return ended > 0 ? status : -1;
}

/* What it said last, if that tells why it has ended: not of long ago. */
static const char *last_words(const struct passt *p, int status)
{
	bool failed = status != -1 && WIFEXITED(status) && WEXITSTATUS(status);

	return failed || now_ms() - p->said_ms <= END_TIMEOUT_MS ? p->said : "";
}

/* "killed by signal 9 (Killed)", "exit status 1: cannot do this" */
static const char *how_it_ended(const struct passt *p, int status, char *text,
				size_t bytes)
{
	const char *words = last_words(p, status);
	char how[80];

	if (p->confused)
		strcpy(how, "it sent what is no frame");
	else if (status == -1)
		strcpy(how, "it has closed its end");
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "exit status %d",
			 WEXITSTATUS(status));
	snprintf(text, bytes, "%s%s%s", how, *words ? ": " : "", words);
	return text;
}

/*
 * passt writes its number into a "file" when it has set up everything; if it
 * was not even found, exec_passt() writes a negative number.
 */
static void wait_until_ready(struct passt *p, int ready)
{
	struct pollfd fd = { ready, POLLIN, 0 };
	char number[16] = "", text[256];
	int err, status;

	if (poll(&fd, 1, START_TIMEOUT_MS) <= 0) {
		end_process(p, 0);
		die("net %s: passt did not get ready in %d s%s%s; "
		    "try by hand: passt --foreground",
		    p->name, START_TIMEOUT_MS / 1000, *p->said ? ": " : "",
		    p->said);
	}
	if (read(ready, number, sizeof(number) - 1) > 0) {
		if (*number >= '0' && *number <= '9')
			return;
		memcpy(&err, number, sizeof(err));
		die("net %s: passt cannot be started: %s%s", p->name,
		    strerror(-err),
		    err == -ENOENT ? "; install the package passt" : "");
	}
	status = end_process(p, END_TIMEOUT_MS);
	die("net %s: passt has failed: %s", p->name,
	    how_it_ended(p, status, text, sizeof(text)));
}

static void start_process(struct passt *p)
{
	const int ours = OUR_SNDBUF, passts = PASST_SNDBUF;
	int sockets[2], log[2], ready[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ||
	    pipe2(log, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0)
		die("net %s: %s", p->name, strerror(errno));
	setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &ours, sizeof(ours));
	setsockopt(sockets[1], SOL_SOCKET, SO_SNDBUF, &passts, sizeof(passts));
	/* As root, passt becomes nobody before it opens this. */
	fchmod(ready[1], 0666);
	pid = fork();
	if (pid < 0)
		die("net %s: no process for passt: %s", p->name,
		    strerror(errno));
	if (pid == 0) {
		fcntl(ready[1], F_SETFD, 0);
		exec_passt(sockets[1], log[1], ready[1]);
	}
	close(sockets[1]);
	close(log[1]);
	close(ready[1]);
	fcntl(sockets[0], F_SETFL, O_NONBLOCK);
	fcntl(log[0], F_SETFL, O_NONBLOCK);
	p->pid = pid;
	p->socket = sockets[0];
	p->log = log[0];
	wait_until_ready(p, ready[0]);
	close(ready[0]);
}

/* ---- The pump ------------------------------------------------------------ */

/* Frames of the guest, as many as there are and fit. */
static void take_from_guest(struct passt *p)
{
	uint32_t header;
	ssize_t n;

	for (p->sent = p->frames = 0; p->frames < OUT_FRAMES; p->frames++) {
		uint8_t *data = p->out_data[p->frames];

		n = read(p->from_guest, data + HEADER_BYTES, PIPE_BUF);
		if (n <= 0)
			return;
		header = htonl(n);
		memcpy(data, &header, HEADER_BYTES);
		p->out_iov[p->frames] =
			(struct iovec){ data, HEADER_BYTES + (size_t)n };
		p->out[p->frames].msg_hdr = (struct msghdr){
			.msg_iov = &p->out_iov[p->frames],
			.msg_iovlen = 1,
		};
	}
}

static void give_to_passt(struct passt *p)
{
	int n = sendmmsg(p->socket, p->out + p->sent, p->frames - p->sent,
			 MSG_NOSIGNAL);

	if (n > 0)
		p->sent += n;
}

static void drop(struct passt *p, uint32_t bytes, const char *why)
{
	if (p->dropped++ == 0)
		note("net %s: a frame of %u bytes was dropped: %s; "
		     "more of these are not told",
		     p->name, bytes, why);
}

/* All whole frames in @in.  False: that is no stream of frames. */
static bool give_to_guest(struct passt *p)
{
	size_t at = 0, left;
	uint32_t bytes;

	for (;;) {
		left = p->in_bytes - at;
		if (p->skip) {
			size_t skip = p->skip < left ? p->skip : left;

			at += skip;
			left -= skip;
			p->skip -= skip;
		}
		if (left < HEADER_BYTES)
			break;
		memcpy(&bytes, p->in + at, HEADER_BYTES);
		bytes = ntohl(bytes);
		if (bytes > STREAM_MAX) {
			p->confused = true;
			return false;
		}
		if (bytes > FRAME_MAX) {
			p->skip = HEADER_BYTES + bytes;
			drop(p, bytes, "it is too long");
			continue;
		}
		if (left < HEADER_BYTES + bytes)
			break;
		if (write(p->to_guest, p->in + at + HEADER_BYTES, bytes) < 0)
			drop(p, bytes, "the guest has no room");
		at += HEADER_BYTES + bytes;
	}
	memmove(p->in, p->in + at, left);
	p->in_bytes = left;
	return true;
}

/* All that there is.  False: passt has closed its end, or is confused. */
static bool take_from_passt(struct passt *p)
{
	ssize_t n;

	for (;;) {
		n = recv(p->socket, p->in + p->in_bytes,
			 sizeof(p->in) - p->in_bytes, 0);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		p->in_bytes += n;
		if (n == 0 || !give_to_guest(p))
			return false;
	}
}

/* Until passt ends, which is what true means, or we are told to. */
static bool pump(struct passt *p)
{
	struct pollfd fds[FDS] = {
		[FD_STOP] = { p->stop_fd, POLLIN, 0 },
		[FD_LOG] = { p->log, POLLIN, 0 },
		[FD_SOCKET] = { p->socket, POLLIN, 0 },
		[FD_FROM_GUEST] = { p->from_guest, POLLIN, 0 },
	};
	bool unsent;

	for (;;) {
		unsent = p->sent < p->frames;
		fds[FD_SOCKET].events = POLLIN | (unsent ? POLLOUT : 0);
		fds[FD_FROM_GUEST].fd = unsent ? -1 : p->from_guest;
		fds[FD_LOG].fd = p->log;
		if (poll(fds, FDS, -1) < 0)
			continue;
		if (fds[FD_STOP].revents)
			return false;
		if (fds[FD_LOG].revents)
			take_log(p);
		/* Before passt gets more to answer. */
		if (fds[FD_SOCKET].revents && !take_from_passt(p))
			return true;
		if (fds[FD_FROM_GUEST].revents)
			take_from_guest(p);
		if (p->sent < p->frames)
			give_to_passt(p);
	}
}

static void *pump_thread(void *arg)
{
	struct passt *p = arg;
	uint64_t one = 1;
	char text[256];
	int status;

	if (!pump(p))
		return NULL;
	status = end_process(p, p->confused ? 0 : END_TIMEOUT_MS);
	say("net %s: passt has ended: %s; the link is down", p->name,
	    how_it_ended(p, status, text, sizeof(text)));
	/* The guest gets errors now; it would wait for ever otherwise. */
	close(p->from_guest);
	close(p->to_guest);
	atomic_store(&p->ended, true);
	if (write(p->ended_fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd takes as many as there are interfaces */
	return NULL;
}

/* ---- Life ---------------------------------------------------------------- */

static void make_pipe(const struct passt *p, int *read_end, int *write_end)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK | O_DIRECT) < 0)
		die("net %s: no pipe: %s", p->name, strerror(errno));
	if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) < 0)
		note("net %s: only few frames can wait: %s", p->name,
		     strerror(errno));
	*read_end = fds[0];
	*write_end = fds[1];
}

struct passt *passt_start(const char *name, int ended_fd)
{
	struct passt *p = calloc(1, sizeof(*p));
	pthread_attr_t attr;
	sigset_t all, before;
	int err;

	if (!p)
		die("out of memory");
	p->name = name;
	p->ended_fd = ended_fd;
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop_fd < 0)
		die("eventfd: %s", strerror(errno));
	start_process(p);
	make_pipe(p, &p->from_guest, &p->fd_out);
	make_pipe(p, &p->fd_in, &p->to_guest);

	sigfillset(&all); /* they are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&p->thread, &attr, pump_thread, p);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		die("net %s: no thread: %s", name, strerror(err));
	return p;
}

void passt_stop(struct passt *p)
{
	uint64_t one = 1;

	if (write(p->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd takes its first 1 */
	pthread_join(p->thread, NULL);
	close(p->socket);
	if (p->pid)
		end_process(p, 0);
	free(p);
}
