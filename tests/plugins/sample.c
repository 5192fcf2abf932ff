/* A plugin in C, as small as one can be: see cargo-plugin(3). */
#include "cargo-plugin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct cargo_plugin cargo_plugin = {
	.abi = CARGO_PLUGIN_ABI,
	.name = "sample",
	.version = "1.0",
	.queries = "sample a greeting for whoever -w names\n"
	           "sample.pid the process that answers\n",
};

static int greet(const char *args, const struct cargo_answer *answer)
{
	char text[128];
	const char *whom = "world";

	if (strncmp(args, "-w ", 3) == 0)
		whom = args + 3;
	else if (*args != '\0') {
		static const char reason[] = "args: only -w NAME is known";
		answer->write(answer->context, reason, sizeof reason - 1);
		return CARGO_INVALID_PARAMS;
	}
	if (strlen(whom) > 64 || strpbrk(whom, "\"\\\n") != NULL) {
		static const char reason[] = "args: -w: at most 64 bytes without quotes";
		answer->write(answer->context, reason, sizeof reason - 1);
		return CARGO_INVALID_PARAMS;
	}
	/* In pieces: the host puts them together. */
	answer->write(answer->context, "{\"hello\":\"", 10);
	answer->write(answer->context, text, (size_t)snprintf(text, sizeof text, "%s\"}", whom));
	return CARGO_NORMAL_TERMINATION;
}

int cargo_plugin_query(const char *query, const char *args, const struct cargo_answer *answer)
{
	char text[32];

	if (strcmp(query, "sample") == 0)
		return greet(args, answer);
	answer->write(answer->context, text, (size_t)snprintf(text, sizeof text, "%d", (int)getpid()));
	return CARGO_NORMAL_TERMINATION;
}
