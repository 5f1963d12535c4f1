/*
 * The load driver of the benchmark: one thread, one epoll loop, two protocols.
 *
 *   driver e2e   --server S --port N ...   publishers, subscribers, and a check of every message
 *   driver fetch --server S --port N ...   one subscriber that replays what an e2e run has stored
 *   driver idle  --server S --port N ...   opens subscribed connections, holds them until a line on stdin
 *
 * S is `gobbler` (WebSocket, RFC 6455, and the commands of Gobbler's protocol) or `nats` (the NATS text
 * protocol with JetStream: a stream on file storage, publishes that are acknowledged on an inbox, one push
 * consumer without acknowledgements a subscriber). Both carry the same bodies and pass the same checks.
 *
 * Every body begins with a `struct stamp`: publisher, sequence, and the time at which it was due. So the
 * driver knows whether each subscriber saw 0..n-1 of each publisher of its topic, once and in order, and how
 * long each message took. Publisher k publishes to topic k % T, subscriber i subscribes to topic i % T.
 *
 * The result is one JSON object on stdout. Exit status: 0 all checks hold, 1 one failed, 2 bad usage,
 * 3 the server could not be reached or did not answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    INBOX_SIZE = 1 << 20,     /* what one message and one read burst must fit in together */
    OUTBOX_LIMIT = 256 << 10, /* unsent bytes at which a publisher waits for its socket */
    NAME_SIZE = 128,          /* a topic, a subject or an inbox */
    HEAD_SIZE = 320,          /* what stands before a body on the wire */
};
static const int64_t SECOND = 1000000000, LINGER = 50000000; /* nanoseconds */

/* ---- Options and errors ------------------------------------------------------------------------------ */

static struct {
    const char *topic;
    int port, publishers, subscribers, topics, connections;
    long messages, window; /* a publisher */
    size_t body;           /* bytes */
    double rate;           /* messages a second and publisher; 0: as fast as the window allows */
    double patience;       /* seconds without any progress after which the run is given up */
    bool ids;              /* Gobbler: every publish carries its sequence as the publisher's message id */
} options = {"bench", 0, 1, 1, 1, 1000, 10000, 1000, 44, 0, 10, false};

__attribute__((noreturn, format(printf, 2, 3))) static void die(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

static void *allocate(void *old, size_t size) {
    void *memory = realloc(old, size);
    if (memory == NULL) die(3, "out of memory");
    return memory;
}

static void *zeroed(size_t count, size_t size) {
    return memset(allocate(NULL, count * size + 1), 0, count * size + 1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* ---- Latencies: a histogram with fixed buckets, 64 to each power of two (1.6 % wide) ------------------ */

enum { STEPS_LOG2 = 6, STEPS = 1 << STEPS_LOG2, BUCKETS = (64 - STEPS_LOG2 + 1) * STEPS };
static uint64_t buckets[BUCKETS], samples, longest;

static size_t bucket_of(uint64_t value) {
    if (value < STEPS) return value;
    int shift = 63 - __builtin_clzll(value) - STEPS_LOG2;
    return (size_t)(shift + 1) * STEPS + (value >> shift) - STEPS;
}

/* The highest value that falls into a bucket, so that a percentile is never flattered. */
static uint64_t top_of(size_t bucket) {
    if (bucket < STEPS) return bucket;
    size_t shift = bucket / STEPS - 1;
    return ((uint64_t)(bucket % STEPS + STEPS + 1) << shift) - 1;
}

static void record(int64_t nanoseconds) {
    uint64_t value = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    buckets[bucket_of(value)]++;
    samples++;
    if (value > longest) longest = value;
}

/* The latency in microseconds that `fraction` of all samples do not exceed. */
static double percentile(double fraction) {
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if (seen > 0 && (double)seen >= fraction * (double)samples) {
            uint64_t top = top_of(i);
            return (double)(top < longest ? top : longest) / 1e3;
        }
    }
    return 0;
}

/* ---- Connections ------------------------------------------------------------------------------------- */

/* What one subscriber has seen of one publisher. */
struct ledger {
    uint64_t *seen; /* one bit a sequence; NULL when the publisher has another topic */
    uint64_t next;  /* the highest sequence seen, plus one */
};

enum role { CONTROL, PUBLISHER, SUBSCRIBER };
enum state { DIALLED, GREETED, READY };

struct connection {
    int fd, index;
    enum role role;
    enum state state;
    bool waits_to_write, owes_end;  /* owes_end: the server has not yet said that a fetch is done */
    uint8_t *rest, *out;            /* rest: the start of a message whose end is not here yet */
    size_t rest_size, out_start, out_end, out_room;
    char topic[NAME_SIZE];          /* a path for Gobbler, a subject for NATS */
    char head[HEAD_SIZE];           /* what stands before each body that is published */
    size_t head_size;
    long sent, settled;             /* settled: acknowledged or refused */
    int64_t due;                    /* when the next message is to be published */
    uint64_t last_id;               /* of the last message delivered or acknowledged */
    struct ledger *ledgers;         /* one a publisher */
};

struct protocol {
    const char *name;
    void (*prepare)(void);                                      /* once, before anything connects */
    void (*greet)(struct connection *);                         /* the handshake, on a blocking socket */
    void (*subscribe)(struct connection *);                     /* READY when it is confirmed */
    void (*fetch)(struct connection *);                         /* asks for everything stored */
    void (*publish)(struct connection *);                       /* `body`, to the connection's topic */
    size_t (*consume)(struct connection *, uint8_t *, size_t);  /* returns how many bytes it has used */
};

static const struct protocol *protocol;
static int poller;
static uint8_t inbox[INBOX_SIZE], *body;
static int64_t received_at, progress_at;
static bool replaying; /* the stamps are old: they say nothing about latency */
static struct {
    long acked, refused, delivered, repeated, misordered, corrupt, errors, closed;
} tally;

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) die(3, "epoll_ctl: %s", strerror(errno));
}

static void lose(struct connection *c) {
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1;
    tally.closed++;
}

/* Room for `size` more bytes at the end of the outbox. */
static uint8_t *reserve(struct connection *c, size_t size) {
    if (c->out_end + size > c->out_room) {
        memmove(c->out, c->out + c->out_start, c->out_end - c->out_start);
        c->out_end -= c->out_start;
        c->out_start = 0;
        while (c->out_end + size > c->out_room) c->out_room = c->out_room ? c->out_room * 2 : 512;
        c->out = allocate(c->out, c->out_room);
    }
    uint8_t *place = c->out + c->out_end;
    c->out_end += size;
    return place;
}

static void put(struct connection *c, const void *bytes, size_t size) {
    if (size > 0) memcpy(reserve(c, size), bytes, size);
}

static void flush(struct connection *c) {
    while (c->fd >= 0 && c->out_start < c->out_end) {
        ssize_t sent = send(c->fd, c->out + c->out_start, c->out_end - c->out_start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!c->waits_to_write) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->waits_to_write = true;
            return;
        }
        if (sent < 0) lose(c);
        else c->out_start += (size_t)sent;
    }
    c->out_start = c->out_end = 0;
    if (c->fd >= 0 && c->waits_to_write) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->waits_to_write = false;
}

/* Everything up to here is parsed; the start of the next message is kept for the next burst. */
static void keep_rest(struct connection *c, const uint8_t *bytes, size_t size) {
    if (size == INBOX_SIZE) die(3, "the server sent a message of more than %d bytes", INBOX_SIZE);
    if (size > c->rest_size) c->rest = allocate(c->rest, size);
    if (size > 0) memcpy(c->rest, bytes, size);
    c->rest_size = size;
}

/* One recv, then every whole message in it. All connections share one inbox: idle ones hold no buffer. */
static void read_burst(struct connection *c) {
    if (c->rest_size > 0) memcpy(inbox, c->rest, c->rest_size);
    ssize_t got = recv(c->fd, inbox + c->rest_size, INBOX_SIZE - c->rest_size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lose(c);
        return;
    }
    received_at = now();
    size_t size = c->rest_size + (size_t)got;
    size_t used = protocol->consume(c, inbox, size);
    keep_rest(c, inbox + used, size - used);
    flush(c); /* pongs */
}

/* Serves sockets until `deadline`, or until something has happened. Returns true when stdin has a line. */
static bool serve(int64_t deadline) {
    int64_t left = deadline - now();
    if (left < 0) left = 0;
    struct timespec timeout = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
    struct epoll_event events[256];
    int count = epoll_pwait2(poller, events, 256, &timeout, NULL);
    bool typed = false;
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c == NULL) typed = true;
        else if (c->fd >= 0) {
            if (events[i].events & ~(uint32_t)EPOLLOUT) read_burst(c);
            if (events[i].events & EPOLLOUT) flush(c);
        }
    }
    return typed;
}

static void dial(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = (time_t)options.patience + 1};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        die(3, "cannot connect to port %d: %s", options.port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    protocol->greet(c);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    flush(c);
}

static void await(struct connection *connections, int count, enum state state) {
    int64_t deadline = now() + (int64_t)(options.patience * 1e9);
    for (int i = 0; i < count;) {
        if (connections[i].state >= state) i++;
        else if (tally.errors || tally.closed || now() > deadline)
            die(3, "connection %d of %d got no further than state %d", i, count, connections[i].state);
        else serve(deadline);
    }
}

/* `count` connections of one role, greeted; one after the other, so that no listen queue overflows. */
static struct connection *open_all(int count, enum role role) {
    struct connection *all = zeroed((size_t)count, sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i].index = i;
        all[i].role = role;
        dial(&all[i]);
    }
    await(all, count, GREETED);
    return all;
}

/* ---- What the messages must satisfy ------------------------------------------------------------------ */

struct stamp {
    uint32_t mark, publisher;
    uint64_t sequence;
    int64_t due;
};
static const uint32_t MARK = 0x474f4242;

static bool same_topic(int publisher, int subscriber) {
    return publisher % options.topics == subscriber % options.topics;
}

static void open_ledgers(struct connection *subscriber) {
    subscriber->ledgers = zeroed((size_t)options.publishers, sizeof *subscriber->ledgers);
    for (int k = 0; k < options.publishers; k++)
        if (same_topic(k, subscriber->index))
            subscriber->ledgers[k].seen = zeroed((size_t)options.messages / 64 + 1, sizeof(uint64_t));
}

/* The stamp of a body that is whole and belongs to one of this subscriber's publishers. */
static bool read_stamp(struct connection *c, const uint8_t *bytes, size_t size, struct stamp *stamp) {
    if (size != options.body) return false;
    memcpy(stamp, bytes, sizeof *stamp);
    return stamp->mark == MARK && stamp->publisher < (uint32_t)options.publishers &&
           stamp->sequence < (uint64_t)options.messages && c->ledgers[stamp->publisher].seen != NULL &&
           memcmp(bytes + sizeof *stamp, body + sizeof *stamp, size - sizeof *stamp) == 0;
}

/* A message has arrived. Ids must grow within a connection; 0 where the protocol shows none. */
static void deliver(struct connection *c, uint64_t id, const uint8_t *bytes, size_t size) {
    struct stamp stamp;
    if (c->ledgers == NULL || !read_stamp(c, bytes, size, &stamp)) {
        tally.corrupt++;
        return;
    }
    struct ledger *ledger = &c->ledgers[stamp.publisher];
    uint64_t bit = 1ull << (stamp.sequence % 64), *word = &ledger->seen[stamp.sequence / 64];
    progress_at = received_at;
    if (*word & bit) {
        tally.repeated++;
        return;
    }
    *word |= bit;
    tally.delivered++;
    if (stamp.sequence < ledger->next || (id > 0 && id <= c->last_id)) tally.misordered++;
    if (stamp.sequence >= ledger->next) ledger->next = stamp.sequence + 1;
    c->last_id = id;
    if (!replaying) record(received_at - stamp.due);
}

/* A publish is in the log, with this id. */
static void acknowledge(struct connection *c, uint64_t id) {
    if (id <= c->last_id) tally.misordered++;
    c->last_id = id;
    c->settled++;
    tally.acked++;
    progress_at = received_at;
}

/* The server has answered with an error; the first ones are shown. */
static void complain(const uint8_t *text, size_t size) {
    if (tally.errors++ < 3) fprintf(stderr, "error: %.*s\n", (int)(size < 300 ? size : 300), text);
}

static void refuse(struct connection *c, const uint8_t *text, size_t size) {
    complain(text, size);
    c->settled++;
    tally.refused++;
}

/* ---- Small parsing helpers --------------------------------------------------------------------------- */

static bool starts(const uint8_t *bytes, size_t size, const char *prefix) {
    size_t length = strlen(prefix);
    return size >= length && memcmp(bytes, prefix, length) == 0;
}

static uint64_t number(const uint8_t *bytes, const uint8_t *end) {
    uint64_t value = 0;
    while (bytes < end && *bytes >= '0' && *bytes <= '9') value = value * 10 + (uint64_t)(*bytes++ - '0');
    return value;
}

/* The first number after `name` in a JSON object, whether it is quoted or not; 0 when there is none. */
static uint64_t member(const uint8_t *bytes, size_t size, const char *name) {
    const uint8_t *end = bytes + size, *at = memmem(bytes, size, name, strlen(name));
    if (at == NULL) return 0;
    at += strlen(name);
    while (at < end && strchr("\": ", *at)) at++;
    return number(at, end);
}

/* ---- Gobbler: WebSocket (RFC 6455) ------------------------------------------------------------------- */

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, FIN = 0x80, MASKED = 0x80 };

static uint32_t next_key(void) {
    static uint64_t state = 0x9e3779b97f4a7c15; /* xorshift64: cheap, and never the same key twice in a row */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)state;
}

static void mask(uint8_t *bytes, size_t size, uint32_t key) {
    uint64_t wide = (uint64_t)key << 32 | key, word;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < size; i++) bytes[i] ^= ((uint8_t *)&key)[i % 4];
}

/* One masked frame (section 5.2) whose payload is `head` and then `tail`. */
static void put_frame(struct connection *c, int opcode, const void *head, size_t head_size, const void *tail,
                      size_t tail_size) {
    size_t size = head_size + tail_size, length = 2;
    uint32_t key = next_key();
    uint8_t header[14] = {(uint8_t)(FIN | opcode)};
    if (size < 126) header[1] = (uint8_t)(MASKED | size);
    else {
        int bytes = size < 65536 ? 2 : 8;
        header[1] = MASKED | (bytes == 2 ? 126 : 127);
        for (int i = bytes - 1; i >= 0; i--) header[length++] = (uint8_t)(size >> (8 * i));
    }
    memcpy(header + length, &key, sizeof key);
    put(c, header, length + sizeof key);
    uint8_t *payload = reserve(c, size);
    if (head_size > 0) memcpy(payload, head, head_size);
    if (tail_size > 0) memcpy(payload + head_size, tail, tail_size);
    mask(payload, size, key);
}

__attribute__((format(printf, 2, 3))) static void put_command(struct connection *c, const char *format, ...) {
    char text[HEAD_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_frame(c, BINARY, text, (size_t)size, NULL, 0);
}

/* The opening handshake with the key of the RFC's example (section 1.3), whose answer is known. */
static void gobbler_greet(struct connection *c) {
    char text[4096];
    size_t size = 0;
    char *end = NULL;
    snprintf(c->topic, sizeof c->topic, "/%s-%d", options.topic, c->index % options.topics);
    c->head_size = (size_t)snprintf(c->head, sizeof c->head, "> %s\n\n", c->topic);
    int length = snprintf(text, sizeof text,
                          "GET /stream/user/%c%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n",
                          c->role == PUBLISHER ? 'p' : 's', c->index, options.port);
    if (send(c->fd, text, (size_t)length, MSG_NOSIGNAL) != length) die(3, "cannot send a handshake");
    while (end == NULL) {
        ssize_t got = recv(c->fd, text + size, sizeof text - 1 - size, 0);
        if (got <= 0) die(3, "no answer to the handshake");
        text[size += (size_t)got] = '\0';
        end = strstr(text, "\r\n\r\n");
    }
    if (strncmp(text, "HTTP/1.1 101 ", 13) != 0 || !strstr(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        die(3, "the server refused the upgrade: %.200s", text);
    end += 4;
    size -= (size_t)(end - text);
    size_t used = protocol->consume(c, (uint8_t *)end, size);
    keep_rest(c, (uint8_t *)end + used, size - used);
}

static void gobbler_subscribe(struct connection *c) {
    put_command(c, "+ %s", c->topic);
    flush(c);
}

static void gobbler_fetch(struct connection *c) {
    c->owes_end = true;
    put_command(c, "+ %s 0 %ld", c->topic, options.messages);
    flush(c);
}

static void gobbler_publish(struct connection *c) {
    if (options.ids) /* `sent` counts this message already */
        c->head_size = (size_t)snprintf(c->head, sizeof c->head, "> %s %ld\n\n", c->topic, c->sent - 1);
    put_frame(c, BINARY, c->head, c->head_size, body, options.body);
}

/* `#send <message id>\n{...}`: answers come in the order of the sends. */
static void gobbler_answer(struct connection *c, const uint8_t *bytes, size_t size) {
    size_t name = strlen("#send ");
    if (options.ids && number(bytes + name, bytes + size) != (uint64_t)c->settled) tally.misordered++;
    acknowledge(c, member(bytes, size, "\"sequenceId\""));
}

/* `<path>,<id>,<user>,<application>,<message id>,<time>\n<headers>\n<body>` */
static void gobbler_message(struct connection *c, const uint8_t *bytes, size_t size) {
    const uint8_t *end = bytes + size, *first, *second = NULL;
    size_t path = strlen(c->topic);
    first = memchr(bytes, '\n', size);
    if (first != NULL) second = memchr(first + 1, '\n', (size_t)(end - first - 1));
    if (second == NULL || !starts(bytes, size, c->topic) || bytes[path] != ',') tally.corrupt++;
    else deliver(c, number(bytes + path + 1, first), second + 1, (size_t)(end - second - 1));
}

static void gobbler_notification(struct connection *c, const uint8_t *bytes, size_t size) {
    if (starts(bytes, size, "#send ")) gobbler_answer(c, bytes, size);
    else if (starts(bytes, size, "#connected ")) c->state = GREETED;
    else if (starts(bytes, size, "#subscribed-to ")) c->state = READY;
    else if (starts(bytes, size, "#fetch-start ")) {
        const uint8_t *space = memrchr(bytes, ' ', size);
        if (number(space + 1, bytes + size) != (uint64_t)options.messages) complain(bytes, size);
    } else if (starts(bytes, size, "#fetch-done ")) c->owes_end = false;
    else complain(bytes, size);
}

static void gobbler_payload(struct connection *c, int opcode, const uint8_t *bytes, size_t size) {
    if (opcode == PING) put_frame(c, PONG, bytes, size, NULL, 0);
    else if (opcode == CLOSE) lose(c);
    else if (opcode != TEXT && opcode != BINARY) complain((const uint8_t *)"unexpected opcode", 17);
    else if (starts(bytes, size, "/")) gobbler_message(c, bytes, size);
    else if (starts(bytes, size, "#")) gobbler_notification(c, bytes, size);
    else if (starts(bytes, size, "!error-send")) refuse(c, bytes, size);
    else complain(bytes, size);
}

static size_t gobbler_consume(struct connection *c, uint8_t *bytes, size_t size) {
    size_t at = 0;
    while (c->fd >= 0 && size - at >= 2) {
        const uint8_t *frame = bytes + at;
        size_t length = frame[1] & 0x7f, header = 2;
        int extended = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (!(frame[0] & FIN) || (frame[1] & MASKED)) die(3, "a frame is fragmented or masked");
        if (size - at < header + (size_t)extended) break;
        if (extended) length = 0;
        for (; extended > 0; extended--) length = length << 8 | frame[header++];
        if (size - at - header < length) break;
        gobbler_payload(c, frame[0] & 0x0f, frame + header, length);
        at += header + length;
    }
    return c->fd >= 0 ? at : size;
}

static void gobbler_prepare(void) {}

static const struct protocol gobbler = {"gobbler",     gobbler_prepare, gobbler_greet,  gobbler_subscribe,
                                        gobbler_fetch, gobbler_publish, gobbler_consume};

/* ---- NATS: the client protocol, and JetStream's API on top of it -------------------------------------- */

/* Subscription ids: what a connection is for, and the answers of the JetStream API. */
enum { SID_TRAFFIC = 1, SID_API = 2 };

__attribute__((format(printf, 2, 3))) static void put_text(struct connection *c, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put(c, text, (size_t)size);
}

/* The subject on which a connection is answered; the process id keeps runs on one server apart. */
static void nats_inbox(const struct connection *c, char name[NAME_SIZE]) {
    snprintf(name, NAME_SIZE, "_INBOX.%d.%c%d", getpid(), "cps"[c->role], c->index);
}

static void nats_greet(struct connection *c) {
    char traffic[NAME_SIZE];
    nats_inbox(c, traffic);
    snprintf(c->topic, sizeof c->topic, "%s.%d", options.topic, c->index % options.topics);
    c->head_size = (size_t)snprintf(c->head, sizeof c->head, "PUB %s %s %zu\r\n", c->topic, traffic, options.body);
    put_text(c,
             "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
             "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
             "SUB %s %d\r\nSUB %s.api %d\r\nPING\r\n",
             traffic, SID_TRAFFIC, traffic, SID_API);
}

/* A request to the JetStream API; the connection is READY when the answer is no error. */
static void nats_request(struct connection *c, const char *subject, const char *json) {
    char traffic[NAME_SIZE];
    nats_inbox(c, traffic);
    put_text(c, "PUB $JS.API.%s.%s %s.api %zu\r\n%s\r\n", subject, options.topic, traffic, strlen(json), json);
    flush(c);
}

static void nats_prepare(void) {
    char json[512];
    struct connection *control = open_all(1, CONTROL);
    snprintf(json, sizeof json,
             "{\"name\":\"%s\",\"subjects\":[\"%s.*\"],\"storage\":\"file\",\"retention\":\"limits\","
             "\"discard\":\"old\",\"num_replicas\":1}",
             options.topic, options.topic);
    nats_request(control, "STREAM.CREATE", json);
    await(control, 1, READY);
}

static void nats_consumer(struct connection *c, const char *deliver_policy) {
    char json[512], traffic[NAME_SIZE];
    nats_inbox(c, traffic);
    snprintf(json, sizeof json,
             "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"%s\","
             "\"deliver_policy\":\"%s\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
             "\"filter_subject\":\"%s\"}}",
             options.topic, traffic, deliver_policy, c->topic);
    nats_request(c, "CONSUMER.CREATE", json);
}

static void nats_subscribe(struct connection *c) {
    nats_consumer(c, "new");
}

static void nats_fetch(struct connection *c) {
    nats_consumer(c, "all");
}

static void nats_publish(struct connection *c) {
    put(c, c->head, c->head_size);
    put(c, body, options.body);
    put(c, "\r\n", 2);
}

/* One MSG, or HMSG: nothing here sends headers, so those are the server's own complaints (503). */
static void nats_message(struct connection *c, uint64_t sid, bool headers, const uint8_t *bytes, size_t size) {
    bool traffic = sid == SID_TRAFFIC, failed = headers;
    if (traffic && c->role == SUBSCRIBER && !headers) {
        deliver(c, 0, bytes, size);
        return;
    }
    failed = failed || memmem(bytes, size, "\"error\"", 7) != NULL;
    if (traffic && failed) refuse(c, bytes, size);
    else if (traffic) acknowledge(c, member(bytes, size, "\"seq\""));
    else if (failed) complain(bytes, size);
    else c->state = READY;
}

/* A line that carries no message. */
static void nats_control(struct connection *c, const uint8_t *line, size_t size) {
    if (starts(line, size, "PING")) put(c, "PONG\r\n", 6);
    else if (starts(line, size, "PONG")) c->state = c->state == DIALLED ? GREETED : c->state;
    else if (!starts(line, size, "INFO ") && !starts(line, size, "+OK")) complain(line, size);
}

/* `MSG <subject> <sid> [reply-to] <bytes>\r\n<payload>\r\n`; HMSG has the header's size before the total. */
static size_t nats_consume(struct connection *c, uint8_t *bytes, size_t size) {
    const uint8_t *at = bytes, *end = bytes + size, *feed;
    while ((feed = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        size_t length = (size_t)(feed - at);
        bool headers = *at == 'H';
        if (!starts(at, length, "MSG ") && !starts(at, length, "HMSG ")) {
            nats_control(c, at, length);
            at = feed + 1;
            continue;
        }
        const uint8_t *subject = at + (headers ? 5 : 4);
        const uint8_t *sid = memchr(subject, ' ', (size_t)(feed - subject));
        const uint8_t *last = memrchr(at, ' ', length);
        size_t payload = number(last + 1, feed);
        if ((size_t)(end - feed - 1) < payload + 2) break;
        nats_message(c, sid ? number(sid + 1, feed) : 0, headers, feed + 1, payload);
        at = feed + 1 + payload + 2;
    }
    return (size_t)(at - bytes);
}

static const struct protocol nats = {"nats",     nats_prepare, nats_greet,  nats_subscribe,
                                     nats_fetch, nats_publish, nats_consume};

/* ---- The runs ---------------------------------------------------------------------------------------- */

static void stamp_and_publish(struct connection *c, int64_t due) {
    struct stamp stamp = {MARK, (uint32_t)c->index, (uint64_t)c->sent++, due};
    memcpy(body, &stamp, sizeof stamp);
    protocol->publish(c);
}

/* As much as the window and the socket take. Returns true when there would be more to publish at once. */
static bool publish_flat_out(struct connection *c) {
    while (c->sent < options.messages && c->sent - c->settled < options.window) {
        if (c->out_end - c->out_start >= OUTBOX_LIMIT) break;
        stamp_and_publish(c, now());
    }
    flush(c);
    return c->sent < options.messages && c->sent - c->settled < options.window && !c->waits_to_write;
}

/*
 * What is due by now. A message keeps the time at which it was due as its start, even if the driver or the
 * window held it back: a server that stalls is charged for all the messages that had to wait.
 */
static void publish_due(struct connection *c, int64_t interval) {
    int64_t time = now();
    while (c->due <= time && c->sent < options.messages && c->sent - c->settled < options.window) {
        stamp_and_publish(c, c->due);
        c->due += interval;
    }
    flush(c);
}

/* One turn over all publishers. Returns when the next turn is due. */
static int64_t publish_turn(struct connection *publishers, int64_t interval) {
    int64_t next = now() + SECOND / 20;
    for (int k = 0; k < options.publishers; k++) {
        struct connection *c = &publishers[k];
        if (c->sent >= options.messages) {
            if (c->out_end > c->out_start && !c->waits_to_write) flush(c);
        } else if (interval == 0) {
            if (publish_flat_out(c)) next = 0;
        } else {
            publish_due(c, interval);
            if (c->due < next && c->sent - c->settled < options.window) next = c->due;
        }
    }
    return next;
}

static bool patient(void) {
    return tally.closed == 0 && now() - progress_at < (int64_t)(options.patience * 1e9);
}

/* After the last message: a repeat that comes late is a repeat too. */
static void linger(void) {
    for (int64_t end = now() + LINGER; now() < end;) serve(end);
}

static long expected(void) {
    long pairs = 0;
    for (int i = 0; i < options.subscribers; i++)
        for (int k = 0; k < options.publishers; k++) pairs += same_topic(k, i);
    return pairs * options.messages;
}

/* Prints the result; returns the exit status. */
static int report(long to_publish, double seconds) {
    long missing = expected() - tally.delivered;
    printf("{\"seconds\": %.6f, \"published_per_s\": %.1f, \"delivered_per_s\": %.1f, ", seconds,
           (double)tally.acked / seconds, (double)tally.delivered / seconds);
    printf("\"acked\": %ld, \"delivered\": %ld, \"unanswered\": %ld, \"missing\": %ld, \"repeated\": %ld, ",
           tally.acked, tally.delivered, to_publish - tally.acked - tally.refused, missing, tally.repeated);
    printf("\"misordered\": %ld, \"corrupt\": %ld, \"errors\": %ld, \"closed\": %ld, ", tally.misordered,
           tally.corrupt, tally.errors, tally.closed);
    printf("\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}}\n", percentile(0.5),
           percentile(0.99), percentile(0.999), (double)longest / 1e3);
    return tally.acked != to_publish || missing || tally.repeated || tally.misordered || tally.corrupt ||
           tally.errors || tally.closed;
}

static int run_e2e(void) {
    struct connection *subscribers = open_all(options.subscribers, SUBSCRIBER);
    for (int i = 0; i < options.subscribers; i++) {
        open_ledgers(&subscribers[i]);
        protocol->subscribe(&subscribers[i]);
    }
    await(subscribers, options.subscribers, READY);
    struct connection *publishers = open_all(options.publishers, PUBLISHER);
    int64_t interval = options.rate > 0 ? (int64_t)(1e9 / options.rate) : 0;
    int64_t start = progress_at = now();
    for (int k = 0; k < options.publishers; k++) publishers[k].due = start + k * interval / options.publishers;
    long to_publish = options.publishers * options.messages, to_deliver = expected();
    while ((tally.acked + tally.refused < to_publish || tally.delivered < to_deliver) && patient())
        serve(publish_turn(publishers, interval));
    double seconds = (double)(progress_at - start + 1) / 1e9;
    linger();
    return report(to_publish, seconds);
}

static int run_fetch(void) {
    replaying = true;
    options.subscribers = 1;
    struct connection *subscriber = open_all(1, SUBSCRIBER);
    open_ledgers(subscriber);
    int64_t start = progress_at = now();
    protocol->fetch(subscriber);
    while ((tally.delivered < expected() || subscriber->owes_end) && patient()) serve(now() + SECOND / 20);
    double seconds = (double)(progress_at - start + 1) / 1e9;
    linger();
    if (subscriber->owes_end) complain((const uint8_t *)"the fetch has no end", 20);
    return report(0, seconds);
}

static int run_idle(void) {
    struct connection *all = open_all(options.connections, SUBSCRIBER);
    for (int i = 0; i < options.connections; i++) protocol->subscribe(&all[i]);
    await(all, options.connections, READY);
    printf("{\"open\": %d}\n", options.connections);
    fflush(stdout);
    struct epoll_event line = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &line)) die(2, "stdin must be a pipe or a terminal");
    while (!serve(now() + SECOND)) continue;
    printf("{\"open\": %ld, \"closed\": %ld, \"errors\": %ld}\n", options.connections - tally.closed, tally.closed,
           tally.errors);
    return tally.closed || tally.errors;
}

/* ---- The command line -------------------------------------------------------------------------------- */

static const struct option NAMES[] = {
    {"server", 1, NULL, 's'},      {"port", 1, NULL, 'p'},   {"topic", 1, NULL, 't'},
    {"publishers", 1, NULL, 'P'},  {"topics", 1, NULL, 'T'}, {"subscribers", 1, NULL, 'S'},
    {"messages", 1, NULL, 'n'},    {"body", 1, NULL, 'b'},   {"window", 1, NULL, 'w'},
    {"rate", 1, NULL, 'r'},        {"patience", 1, NULL, 'x'}, {"connections", 1, NULL, 'c'},
    {"ids", 1, NULL, 'i'},         {NULL, 0, NULL, 0},
};

static void set_option(int name, const char *value) {
    switch (name) {
    case 's': protocol = !strcmp(value, "nats") ? &nats : !strcmp(value, "gobbler") ? &gobbler : NULL; break;
    case 'p': options.port = atoi(value); break;
    case 't': options.topic = value; break;
    case 'P': options.publishers = atoi(value); break;
    case 'S': options.subscribers = atoi(value); break;
    case 'T': options.topics = atoi(value); break;
    case 'n': options.messages = atol(value); break;
    case 'b': options.body = (size_t)atol(value); break;
    case 'w': options.window = atol(value); break;
    case 'r': options.rate = atof(value); break;
    case 'x': options.patience = atof(value); break;
    case 'i': options.ids = atoi(value) != 0; break;
    case 'c': options.connections = atoi(value); break;
    default: die(2, "usage: driver e2e|fetch|idle --server gobbler|nats --port N [...]; see driver.c");
    }
}

static void read_options(int count, char **values) {
    int name;
    while ((name = getopt_long(count, values, "", NAMES, NULL)) != -1) set_option(name, optarg);
    if (protocol == NULL || optind != count - 1) set_option('?', NULL);
    if (options.port <= 0 || options.publishers < 1 || options.subscribers < 0 || options.topics < 1 ||
        options.messages < 1 || options.window < 1 || options.connections < 1 || strlen(options.topic) > 40)
        die(2, "an option has a value that cannot be used");
    if (options.body < sizeof(struct stamp) || options.body > INBOX_SIZE / 2)
        die(2, "a body has %zu to %d bytes", sizeof(struct stamp), INBOX_SIZE / 2);
}

int main(int count, char **values) {
    struct rlimit files;
    read_options(count, values);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1); /* wake when a message is due, not up to 50 us later */
    poller = epoll_create1(0);
    body = memset(allocate(NULL, options.body), 'x', options.body);
    const char *mode = values[optind];
    if (!strcmp(mode, "fetch")) return run_fetch();
    protocol->prepare();
    if (!strcmp(mode, "e2e")) return run_e2e();
    if (!strcmp(mode, "idle")) return run_idle();
    set_option('?', NULL);
    return 2;
}
