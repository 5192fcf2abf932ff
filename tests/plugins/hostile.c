/*
 * Plugins that misbehave, one a build: -DQUERY='"segfault"' -DACT=segfault ...
 * Each answers the query of its own name, in its own way.
 */
#define _GNU_SOURCE
#include "cargo-plugin.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ABI
#define ABI CARGO_PLUGIN_ABI
#endif

const struct cargo_plugin cargo_plugin = {
	.abi = ABI,
	.name = QUERY,
	.version = "1.0",
	.queries = QUERY " nothing good\n",
};

static const struct cargo_answer *answer;
/* Which the compiler does not know. */
static volatile int always = 1;

static int say(const char *text)
{
	answer->write(answer->context, text, strlen(text));
	return CARGO_NORMAL_TERMINATION;
}

static int segfault(void)
{
	fputs("about to read nothing\n", stderr);
	return *(volatile int *)8;
}

static int aborts(void)
{
	abort();
}

static int loop(void)
{
	while (always)
		;
	return 0;
}

static int sleeps(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	while (always)
		pause();
	return 0;
}

static int deep(volatile char *above)
{
	volatile char frame[4096];

	frame[0] = above == NULL ? 0 : above[0];
	return always ? deep(frame) + frame[0] : 0;
}

static int overflow(void)
{
	return deep(NULL);
}

static int gigabyte(void)
{
	char *block = malloc(1 << 30);

	if (block == NULL) {
		say("there is no memory");
		return CARGO_EXITED_WITH_AN_ERROR;
	}
	memset(block, 1, 1 << 30);
	return say("\"it had a gigabyte\"");
}

static int leaks(void)
{
	for (int n = 0; n < 1000; n++)
		if (malloc(4096) == NULL)
			abort();
	return say("\"leaked\"");
}

/* What it leaves behind: a child, and one that cut every tie but the pipe. */
static int forks(void)
{
	if (fork() == 0)
		for (;;)
			pause();
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			for (;;)
				pause();
		_exit(0);
	}
	return say("\"forked\"");
}

static int closes(void)
{
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	return say("\"closed\"");
}

static int exits(void)
{
	exit(7);
}

static int exits_well(void)
{
	_exit(0);
}

static int rubbish(void)
{
	return say("{\"a\":");
}

static int host_offline(void)
{
	return 204;
}

static int too_large(void)
{
	return say("1e999");
}

/* What it leaves has none of its pipes but the one that it was not told of. */
static int daemon_like(void)
{
	if (fork() == 0) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		if (fork() == 0)
			for (;;)
				pause();
		_exit(0);
	}
	return say("\"left\"");
}

static int lines(void)
{
	return say("[\n1,\n2\n]\n");
}

static int long_reason(void)
{
	for (int n = 0; n < 50000; n++)
		say("a long reason\n");
	return CARGO_NOT_FOUND;
}

static int prints(void)
{
	puts("rubbish on standard output");
	fflush(stdout);
	return say("\"printed\"");
}

static int nothing(void)
{
	return CARGO_NORMAL_TERMINATION;
}

static int ten_megabytes(void)
{
	static char block[1 << 20];

	memset(block, 'x', sizeof block);
	say("\"");
	for (int n = 0; n < 10; n++)
		answer->write(answer->context, block, sizeof block);
	return say("\"");
}

static int no_retcode(void)
{
	say("a reason of its own");
	return -1;
}

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void at_load(void)
{
	abort();
}
#endif

int cargo_plugin_query(const char *query, const char *args, const struct cargo_answer *to)
{
	/* One of these is this build's. */
	(void)query, (void)args, (void)segfault, (void)aborts, (void)loop, (void)sleeps, (void)overflow;
	(void)gigabyte, (void)leaks, (void)forks, (void)closes, (void)exits, (void)exits_well, (void)rubbish;
	(void)host_offline, (void)too_large, (void)daemon_like, (void)lines, (void)long_reason, (void)prints, (void)nothing, (void)ten_megabytes, (void)no_retcode;
	answer = to;
	return ACT();
}
