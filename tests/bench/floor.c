/*
 * floor MODE COPIES SIZE HOST PORT [CERT]: what one copy must cost on this machine.
 *
 * Does for each copy only what no exploder can leave out: wraps the content-encryption key for the reader (wrap.c),
 * writes the RecipientInfo as base64, and sends it with the body that all copies share over a kept SMTP connection.
 * MODE is "rsa" or "p256", the key in the PEM certificate CERT, or "send": no wrap. SIZE is the message's octets on the
 * wire, without the final dot.
 *
 * There are as many connections as the exploder keeps. On one alone the process sleeps for each reply, and to sleep and
 * wake is dearer than the rest of the sending: that would be no floor.
 *
 * Prints one JSON object, times in seconds. They are those of the loop alone: neither start-up nor the sink.
 */
#include "wrap.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS = 4,
	REST = 160, /* octets of a head beside the key: CMS headers, algorithms, issuer and serial number */
	LINE = 57, /* octets in a full line of base64 */
	HEAD = 2 * (REST + WRAPPED) /* room for the text of a head */
};

/* Writes `length` octets as lines of base64; returns the characters. */
static size_t base64(char *out, const unsigned char *octets, size_t length)
{
	size_t written = 0;
	for (size_t at = 0; at < length; at += LINE) {
		written += EVP_EncodeBlock((unsigned char *)out + written, octets + at, length - at < LINE ? length - at : LINE);
		memcpy(out + written, "\r\n", 2);
		written += 2;
	}
	return written;
}

static void send_all(int smtp, struct iovec *parts, int count)
{
	while (count) {
		ssize_t sent = writev(smtp, parts, count);
		MUST(sent > 0, "writev");
		for (; count && (size_t)sent >= parts->iov_len; parts++, count--)
			sent -= parts->iov_len;
		if (count) {
			parts->iov_base = (char *)parts->iov_base + sent;
			parts->iov_len -= sent;
		}
	}
}

/* Reads the replies whose first digits are `classes`, one character a reply. */
static void expect(int smtp, const char *classes)
{
	char text[4096];
	size_t have = 0;
	while (*classes) {
		ssize_t got = read(smtp, text + have, sizeof text - have);
		MUST(got > 0, "read");
		have += got;
		char *end, *line = text;
		while ((end = memchr(line, '\n', text + have - line))) {
			if (end - line > 3 && line[3] != '-' && line[0] != *classes++) {
				fprintf(stderr, "the sink says %.*s\n", (int)(end - line), line);
				exit(1);
			}
			line = end + 1;
		}
		have -= line - text;
		memmove(text, line, have);
	}
}

static int open_smtp(const char *host, const char *port)
{
	int smtp = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct sockaddr_in sink = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	MUST(inet_pton(AF_INET, host, &sink.sin_addr) == 1, "host");
	MUST(connect(smtp, (struct sockaddr *)&sink, sizeof sink) == 0, "connect");
	MUST(setsockopt(smtp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
	expect(smtp, "2");
	struct iovec hello = { "EHLO floor.test\r\n", 17 };
	send_all(smtp, &hello, 1);
	expect(smtp, "2");
	return smtp;
}

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Lines of 76 characters up to `size` octets, and the final dot. A copy takes the end of it that its head leaves. */
static char *make_body(size_t size)
{
	char *body = malloc(size + 3);
	MUST(body, "malloc");
	memset(body, 'A', size);
	for (size_t end = size; end >= 2; end -= end > 78 ? 78 : end)
		memcpy(body + end - 2, "\r\n", 2);
	memcpy(body + size, ".\r\n", 3);
	return body;
}

int main(int count, char **argument)
{
	if (count != (count > 1 && !strcmp(argument[1], "send") ? 6 : 7)) {
		fprintf(stderr, "usage: floor send COPIES SIZE HOST PORT | floor rsa|p256 COPIES SIZE HOST PORT CERT\n");
		return 2;
	}
	long copies = atol(argument[2]);
	size_t size = strtoul(argument[3], NULL, 10);
	MUST(copies > 0 && size > HEAD, "COPIES, SIZE");
	if (argument[6])
		wrap_for(argument[1], argument[6]);
	char *commands = "MAIL FROM:<floor@lists.test>\r\nRCPT TO:<floor@members.test>\r\nDATA\r\n";
	char *body = make_body(size), head[HEAD];
	unsigned char octets[REST + WRAPPED] = { 0 };

	int smtp[CONNECTIONS];
	for (int i = 0; i < CONNECTIONS; i++)
		smtp[i] = open_smtp(argument[4], argument[5]);
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
	for (long left = copies; left > 0; left -= CONNECTIONS) {
		int now = left < CONNECTIONS ? left : CONNECTIONS;
		for (int i = 0; i < now; i++)
			send_all(smtp[i], &(struct iovec){ commands, strlen(commands) }, 1);
		for (int i = 0; i < now; i++) {
			size_t length = base64(head, octets, REST + wrap(octets + REST));
			struct iovec message[2] = { { head, length }, { body + length, size - length + 3 } };
			expect(smtp[i], "223");
			send_all(smtp[i], message, 2);
		}
		for (int i = 0; i < now; i++)
			expect(smtp[i], "2");
	}
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = seconds(CLOCK_MONOTONIC) - wall;
	printf("{\"cpu\": %.9f, \"wall\": %.9f}\n", cpu, wall);
	return 0;
}
