/* The wraps of the floor: a content-encryption key for one reader. */
#include <stddef.h>

enum { CEK = 32, WRAPPED = 512 };

/* Takes the reader's key from a PEM certificate, for wraps of `mode`: "rsa" or "p256". */
void wrap_for(const char *mode, const char *certificate);

/* Writes the wrapped key, at most WRAPPED octets, to `out`; returns its length. Without a reader it writes filler. */
size_t wrap(unsigned char *out);

/* Ends the program when `done` is not as it must be. */
#define MUST(done, what) \
	do { \
		if (!(done)) { \
			perror(what); \
			exit(1); \
		} \
	} while (0)
