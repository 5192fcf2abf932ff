/*
 * The interface of Aspire's plugins: see cargo-plugin(3).
 *
 * A plugin is a shared library, NAME.so in the plugin folder. What it is and
 * which queries it answers stands in one constant, which is read out of the
 * file: no code of a plugin runs before it is asked something. Then it is
 * loaded into a process of its own, which ends with the answer: a plugin that
 * crashes, hangs or leaks costs its own answer and nothing else.
 */
#ifndef CARGO_PLUGIN_H
#define CARGO_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. A plugin of another one is not loaded. */
#define CARGO_PLUGIN_ABI 1

#define CARGO_PLUGIN_EXPORT __attribute__((visibility("default")))

/* Retcodes that a query may end with: see cargo-exec(5) for all of them. */
#define CARGO_NORMAL_TERMINATION 2    /* the answer is a JSON document in UTF-8 */
#define CARGO_INVALID_PARAMS 3021     /* from here on the answer is the reason, in words */
#define CARGO_NO_SUCH_USER_OR_GROUP 3023
#define CARGO_NOT_FOUND 3024
#define CARGO_NOT_PERMITTED 3025
#define CARGO_EXITED_WITH_AN_ERROR 3101

/* What a plugin is. Every text is UTF-8 and ends with a NUL. */
struct cargo_plugin {
	uint32_t abi;        /* CARGO_PLUGIN_ABI */
	char name[32];
	char version[28];
	char queries[1984];  /* a line each: NAME, a space, what it answers, '\n' */
};

/* Where an answer goes. */
struct cargo_answer {
	void *context;
	/* Adds `length` bytes to the answer; may be called any number of times. */
	void (*write)(void *context, const char *bytes, size_t length);
};

/* The two symbols that every plugin exports. */
extern CARGO_PLUGIN_EXPORT const struct cargo_plugin cargo_plugin;

/*
 * Answers the query of this name. `args` is what the caller wrote ("" where
 * nothing), in UTF-8. Returns a retcode. Called once in a process; standard
 * input and output are /dev/null, and what is written to standard error is
 * shown where the query fails.
 */
CARGO_PLUGIN_EXPORT int cargo_plugin_query(const char *query, const char *args,
                                           const struct cargo_answer *answer);

#ifdef __cplusplus
}
#endif

#endif
