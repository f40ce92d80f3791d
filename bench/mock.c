/* A model provider that costs next to nothing: one thread, epoll, canned answers.
 *
 *   mock PORT
 *
 * Speaks /chat/completions, /responses and /messages. What is answered stands in the model's name, behind its last slash:
 * nN is N events at once (or one JSON body where the request does not stream), pRxN is N events at R a second. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAX_FD = 65536, TICK_MS = 5 };
enum wire { CHAT, NATIVE, MESSAGES };

struct buffer { char *data; size_t used, size; };
struct conn {
    int fd;
    struct buffer in, out;
    size_t sent;
    enum wire wire;
    int is_paced, left, total, sequence;
    unsigned long serial; /* a provider's ids are never the same twice */
    double due, every;
};

static struct conn *conns[MAX_FD];
static int paced[MAX_FD], paced_count, epoll_fd;

static void put(struct buffer *b, const char *data, size_t n) {
    if (b->used + n > b->size) {
        while (b->used + n > b->size) b->size = b->size ? b->size * 2 : 4096;
        b->data = realloc(b->data, b->size);
        if (!b->data) exit(1);
    }
    memcpy(b->data + b->used, data, n);
    b->used += n;
}

static void putf(struct buffer *b, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(b, text, (size_t)n);
}

static void chunk(struct buffer *b, const char *data) {
    putf(b, "%zx\r\n", strlen(data));
    put(b, data, strlen(data));
    put(b, "\r\n", 2);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *ITEM = "{\"type\":\"message\",\"id\":\"msg_%08lx\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[%s]}";
static const char *RESPONSE = "{\"id\":\"resp_%08lx\",\"object\":\"response\",\"created_at\":1,\"status\":\"%s\",\"model\":\"m\","
    "\"output\":[%s],\"usage\":%s,\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[]}";
static const char *USAGE = "{\"input_tokens\":20,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":10,"
    "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":30}";

static void head_events(struct conn *c) {
    char item[256], response[1024], event[2048];
    c->sequence = 3;
    switch (c->wire) {
    case CHAT:
        chunk(&c->out, "data: {\"id\":\"up\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
                       "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n");
        break;
    case NATIVE:
        snprintf(response, sizeof response, RESPONSE, c->serial, "in_progress", "", "null");
        snprintf(event, sizeof event, "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":%s}\n\n", response);
        chunk(&c->out, event);
        snprintf(item, sizeof item, ITEM, c->serial, "in_progress", "");
        snprintf(event, sizeof event, "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":%s}\n\n", item);
        chunk(&c->out, event);
        snprintf(event, sizeof event,
                 "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"item_id\":\"msg_%08lx\",\"output_index\":0,\"content_index\":0,"
                 "\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n", c->serial);
        chunk(&c->out, event);
        break;
    case MESSAGES:
        chunk(&c->out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
                       "\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":20,\"output_tokens\":1}}}\n\n");
        chunk(&c->out, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
                       "\"text\":\"\"}}\n\n");
    }
}

static void delta_event(struct conn *c) {
    char event[320];
    static const char *words[] = {
        "data: {\"id\":\"up\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":"
        "{\"content\":\"token \"},\"finish_reason\":null}]}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_%08lx\","
        "\"output_index\":0,\"content_index\":0,\"delta\":\"token \",\"logprobs\":[],\"sequence_number\":%d}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"token \"}}\n\n",
    };
    snprintf(event, sizeof event, words[c->wire], c->serial, c->sequence++);
    chunk(&c->out, event);
}

static void tail_events(struct conn *c) {
    switch (c->wire) {
    case CHAT:
        chunk(&c->out, "data: {\"id\":\"up\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
                       "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
        chunk(&c->out, "data: {\"id\":\"up\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":"
                       "{\"prompt_tokens\":20,\"completion_tokens\":10,\"total_tokens\":30}}\n\ndata: [DONE]\n\n");
        break;
    case NATIVE: {
        size_t text = (size_t)c->total * 6, room = text + 4096;
        char *words = malloc(text + 1), *item = malloc(room), *event = malloc(2 * room);
        if (!words || !item || !event) exit(1);
        for (int i = 0; i < c->total; i++) memcpy(words + i * 6, "token ", 6);
        words[text] = 0;
        snprintf(event, 2 * room, "{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}", words);
        snprintf(item, room, ITEM, c->serial, "completed", event);
        snprintf(event, 2 * room, "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":%s}\n\n", item);
        chunk(&c->out, event);
        char *response = malloc(2 * room);
        if (!response) exit(1);
        snprintf(response, 2 * room, RESPONSE, c->serial, "completed", item, USAGE);
        snprintf(event, 2 * room, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":%s}\n\n", response);
        chunk(&c->out, event);
        free(words), free(item), free(event), free(response);
        break;
    }
    case MESSAGES:
        chunk(&c->out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
        chunk(&c->out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":"
                       "{\"input_tokens\":20,\"output_tokens\":10}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
    put(&c->out, "0\r\n\r\n", 5);
}

static void json_answer(struct conn *c, int events) {
    struct buffer body = {0};
    char text[1024], item[2048], part[1200];
    size_t n = 0;
    for (int i = 0; i < events && n + 6 < sizeof text; i++, n += 6) memcpy(text + n, "token ", 6);
    text[n] = 0;
    snprintf(part, sizeof part, "{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}", text);
    snprintf(item, sizeof item, ITEM, c->serial, "completed", part);
    putf(&body, RESPONSE, c->serial, "completed", item, USAGE);
    putf(&c->out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", body.used);
    put(&c->out, body.data, body.used);
    free(body.data);
}

static void flush_out(struct conn *c) {
    while (c->sent < c->out.used) {
        ssize_t n = write(c->fd, c->out.data + c->sent, c->out.used - c->sent);
        if (n < 0) break;
        c->sent += (size_t)n;
    }
    if (c->sent == c->out.used) c->sent = c->out.used = 0;
    struct epoll_event event = {.events = EPOLLIN | (c->out.used ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void unpace(struct conn *c) {
    for (int i = 0; i < paced_count; i++)
        if (paced[i] == c->fd) {
            paced[i] = paced[--paced_count];
            break;
        }
    c->is_paced = 0;
}

static void drop(struct conn *c) {
    if (c->is_paced) unpace(c);
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in.data), free(c->out.data), free(c);
}

static void answer(struct conn *c, const char *head, size_t head_size, const char *body, size_t size) {
    static unsigned long serial;
    c->serial = ++serial;
    int events = 10;
    double rate = 0;
    const char *model = memmem(body, size, "\"model\":", 8);
    if (model) {
        const char *end = memchr(model + 8, '"', size - (size_t)(model + 8 - body));
        end = end ? memchr(end + 1, '"', size - (size_t)(end + 1 - body)) : NULL;
        const char *name = end;
        while (name && name > model && name[-1] != '/' && name[-1] != '"') name--;
        if (name && *name == 'n') events = atoi(name + 1);
        if (name && *name == 'p') sscanf(name, "p%lfx%d", &rate, &events);
    }
    c->wire = memmem(head, head_size, "chat/completions", 16) ? CHAT : memmem(head, head_size, "/messages", 9) ? MESSAGES : NATIVE;
    int streams = memmem(body, size, "\"stream\":true", 13) != NULL || memmem(body, size, "\"stream\": true", 14) != NULL;
    if (!strncmp(head, "GET", 3)) {
        putf(&c->out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 25\r\n\r\n{\"object\":\"list\",\"data\":[]}");
        c->out.used -= 1;
    } else if (!streams) {
        json_answer(c, events);
    } else {
        putf(&c->out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        c->total = events;
        head_events(c);
        if (rate > 0) {
            c->is_paced = 1, c->left = events, c->every = 1 / rate, c->due = now() + c->every;
            paced[paced_count++] = c->fd;
        } else {
            flush_out(c);
            for (int i = 0; i < events; i++) {
                delta_event(c);
                flush_out(c); /* a write each, as a provider's own server would */
            }
            tail_events(c);
        }
    }
    flush_out(c);
}

static void on_input(struct conn *c) {
    char data[65536];
    ssize_t n;
    while ((n = read(c->fd, data, sizeof data)) > 0) put(&c->in, data, (size_t)n);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        drop(c);
        return;
    }
    for (;;) {
        char *end = c->in.used ? memmem(c->in.data, c->in.used, "\r\n\r\n", 4) : NULL;
        if (!end) return;
        size_t head = (size_t)(end - c->in.data) + 4, size = 0;
        for (char *line = c->in.data; line < end; line++)
            if (!strncasecmp(line, "\ncontent-length:", 16)) size = strtoul(line + 16, NULL, 10);
        if (c->in.used < head + size) return;
        answer(c, c->in.data, head, c->in.data + head, size);
        c->in.used -= head + size;
        memmove(c->in.data, c->in.data + head + size, c->in.used);
    }
}

static void on_tick(void) {
    double t = now();
    for (int i = paced_count - 1; i >= 0; i--) {
        struct conn *c = conns[paced[i]];
        int wrote = 0;
        while (c->is_paced && c->due <= t) {
            delta_event(c);
            wrote = 1, c->due += c->every;
            if (--c->left == 0) {
                tail_events(c);
                unpace(c);
            }
        }
        if (wrote) flush_out(c);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: mock PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&where, sizeof where) || listen(listener, 4096)) return perror("listen"), 1;
    struct itimerspec each = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};
    timerfd_settime(timer, 0, &each, NULL);
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = i ? timer : listener};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    for (;;) {
        struct epoll_event events[512];
        int count = epoll_wait(epoll_fd, events, 512, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) > 0) on_tick();
            } else if (fd == listener) {
                for (int new; (new = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    if (new >= MAX_FD) {
                        close(new);
                        continue;
                    }
                    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    conns[new] = calloc(1, sizeof(struct conn));
                    conns[new]->fd = new;
                    struct epoll_event event = {.events = EPOLLIN, .data.fd = new};
                    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, new, &event);
                }
            } else if (conns[fd]) {
                if (events[i].events & EPOLLOUT) flush_out(conns[fd]);
                if (conns[fd] && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_input(conns[fd]);
            }
        }
    }
}
