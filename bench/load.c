/* A load generator that costs next to nothing: one thread, epoll, one request file.
 *
 *   load HOST PORT REQUEST CONNECTIONS SECONDS [RATE]
 *
 * REQUEST is a file with a whole HTTP/1.1 request; twelve tildes in it become a number that no other request has.
 * Without RATE each connection asks again as soon as it was answered; with RATE so many requests a second are due in all,
 * and latency counts from when a request was due. Prints one JSON object: requests, errors, events ("\n\n" in bodies),
 * seconds, latency and time to the first body byte in microseconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { IDLE, SENDING, HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };
struct conn {
    int fd;
    enum state state;
    size_t sent, left;
    char head[16384];
    size_t head_used;
    double due, first;
    char line[32];
    size_t line_used;
    char last;
    int is_ok;
};

enum { NUMBER = 12 };
static char *request, *number;
static unsigned long started;
static size_t request_size;
static double *latencies, *firsts;
static long done, errors, events, room;
static int epoll_fd;
static struct sockaddr_in where;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct conn *c, int op, uint32_t mask) {
    struct epoll_event event = {.events = mask, .data.ptr = c};
    epoll_ctl(epoll_fd, op, c->fd, &event);
}

static void connect_to(struct conn *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(c->fd, (void *)&where, sizeof where);
    c->state = IDLE;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void push(struct conn *c) {
    while (c->sent < request_size) {
        ssize_t n = write(c->fd, request + c->sent, request_size - c->sent);
        if (n < 0) break;
        c->sent += (size_t)n;
    }
    if (c->sent == request_size) c->state = HEAD;
    watch(c, EPOLL_CTL_MOD, c->sent < request_size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void start(struct conn *c, double due) {
    c->due = due, c->sent = 0, c->head_used = 0, c->first = 0, c->line_used = 0, c->last = 0, c->state = SENDING;
    if (number) {
        char digits[32];
        snprintf(digits, sizeof digits, "%0*lu", NUMBER, ++started % 1000000000000);
        memcpy(number, digits, NUMBER);
    }
    push(c);
}

static void finish(struct conn *c) {
    if (!c->is_ok) errors++;
    if (done < room) {
        latencies[done] = now() - c->due;
        firsts[done] = c->first - c->due;
    }
    done++;
    c->state = IDLE;
}

static void lose(struct conn *c) {
    if (c->state != IDLE) errors++;
    close(c->fd);
    connect_to(c);
}

static void count(struct conn *c, const char *data, size_t n) {
    if (!c->first && n) c->first = now();
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n' && c->last == '\n') events++;
        c->last = data[i];
    }
}

static int is_head_whole(struct conn *c) {
    char *end = memmem(c->head, c->head_used, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    c->is_ok = !strncmp(c->head, "HTTP/1.1 200", 12);
    char *length = strcasestr(c->head, "\ncontent-length:");
    if (strcasestr(c->head, "chunked")) c->state = CHUNK_SIZE;
    else c->state = BODY, c->left = length ? strtoul(length + 16, NULL, 10) : 0;
    return 1;
}

static void feed(struct conn *c, const char *data, size_t n) {
    while (n) {
        size_t taken = 1;
        switch (c->state) {
        case HEAD:
            if (c->head_used + 1 < sizeof c->head) c->head[c->head_used++] = *data;
            if (*data == '\n' && is_head_whole(c) && c->state == BODY && !c->left) finish(c);
            break;
        case BODY:
            taken = n < c->left ? n : c->left;
            count(c, data, taken);
            c->left -= taken;
            if (!c->left) finish(c);
            break;
        case CHUNK_SIZE:
            if (*data != '\n') {
                if (c->line_used + 1 < sizeof c->line) c->line[c->line_used++] = *data;
                break;
            }
            c->line[c->line_used] = 0, c->line_used = 0;
            c->left = strtoul(c->line, NULL, 16);
            c->state = c->left ? CHUNK : TRAILER;
            break;
        case CHUNK:
            taken = n < c->left ? n : c->left;
            count(c, data, taken);
            c->left -= taken;
            if (!c->left) c->state = CHUNK_END;
            break;
        case CHUNK_END:
            if (*data == '\n') c->state = CHUNK_SIZE;
            break;
        case TRAILER:
            if (*data == '\n') finish(c);
            break;
        default:
            return;
        }
        data += taken, n -= taken;
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at(double *values, long n, double share) {
    return n ? values[(long)((double)(n - 1) * share)] * 1e6 : 0;
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "usage: load HOST PORT REQUEST CONNECTIONS SECONDS [RATE]\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    int connections = atoi(argv[4]);
    double seconds = atof(argv[5]), rate = argc > 6 ? atof(argv[6]) : 0;
    FILE *file = fopen(argv[3], "rb");
    if (!file) return perror(argv[3]), 1;
    fseek(file, 0, SEEK_END);
    request_size = (size_t)ftell(file);
    rewind(file);
    request = malloc(request_size);
    if (!request || fread(request, 1, request_size, file) != request_size) return 1;
    started = (unsigned long)getpid() * 1000000;
    number = memmem(request, request_size, "~~~~~~~~~~~~", NUMBER);
    where.sin_family = AF_INET, where.sin_port = htons((uint16_t)atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &where.sin_addr);
    room = 4000000;
    latencies = malloc(sizeof(double) * (size_t)room), firsts = malloc(sizeof(double) * (size_t)room);
    struct conn *conns = calloc((size_t)connections, sizeof *conns);
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < connections; i++) connect_to(&conns[i]);
    double begin = now(), due = begin, end = begin + seconds, hard_end = end + 60;
    for (;;) {
        double t = now();
        int busy = 0;
        for (int i = 0; i < connections; i++) {
            struct conn *c = &conns[i];
            if (c->state == IDLE && t < end && (!rate || due <= t)) {
                start(c, rate ? due : t);
                if (rate) due += 1 / rate;
            }
            busy += c->state != IDLE;
        }
        if ((t >= end && !busy) || t >= hard_end) break;
        struct epoll_event ready[256];
        int wait_ms = rate && t < end ? 1 : 50;
        int found = epoll_wait(epoll_fd, ready, 256, wait_ms);
        for (int i = 0; i < found; i++) {
            struct conn *c = ready[i].data.ptr;
            if (ready[i].events & EPOLLOUT && c->state == SENDING) push(c);
            if (!(ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
            char data[262144];
            ssize_t n = read(c->fd, data, sizeof data);
            if (n > 0) feed(c, data, (size_t)n);
            else if (n == 0 || errno != EAGAIN) lose(c);
        }
    }
    double took = now() - begin;
    long kept = done < room ? done : room;
    qsort(latencies, (size_t)kept, sizeof(double), by_size);
    qsort(firsts, (size_t)kept, sizeof(double), by_size);
    printf("{\"requests\":%ld,\"errors\":%ld,\"events\":%ld,\"seconds\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"first_p50_us\":%.1f,"
           "\"first_p99_us\":%.1f}\n", done, errors, events, took, at(latencies, kept, 0.5), at(latencies, kept, 0.99),
           at(firsts, kept, 0.5), at(firsts, kept, 0.99));
    return 0;
}
