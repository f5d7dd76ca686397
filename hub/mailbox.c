#include "hub/mailbox.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"

struct mailbox {
    mailbox_read *read;
    void *context;
    struct event *event;
    int descriptor;
    pthread_mutex_t mutex;
    struct mail *first, *last; /* under the mutex */
};

struct mail *mail_new(enum mail_type type, uint32_t shard, const void *bytes, size_t length)
{
    struct mail *mail = xmalloc(sizeof(*mail) + length);
    memset(mail, 0, sizeof(*mail));
    mail->type = type;
    mail->shard = shard;
    mail->length = length;
    if (length > 0)
        memcpy(mail->bytes, bytes, length);
    return mail;
}

static struct mail *take_all(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    struct mail *mail = mailbox->first;
    mailbox->first = mailbox->last = NULL;
    pthread_mutex_unlock(&mailbox->mutex);
    return mail;
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct mailbox *mailbox = context;
    uint64_t count;
    /* First the signal, then the mail: what comes in between signals again. */
    while (read((int)descriptor, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    for (struct mail *mail = take_all(mailbox), *next; mail != NULL; mail = next) {
        next = mail->next;
        mail->next = NULL;
        mailbox->read(mailbox->context, mail);
    }
}

struct mailbox *mailbox_new(struct event_base *base, mailbox_read *read, void *context)
{
    struct mailbox *mailbox = xcalloc(1, sizeof(*mailbox));
    mailbox->read = read;
    mailbox->context = context;
    mailbox->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(mailbox->descriptor >= 0 && pthread_mutex_init(&mailbox->mutex, NULL) == 0);
    mailbox->event = event_new(base, mailbox->descriptor, EV_READ | EV_PERSIST, on_readable, mailbox);
    ensure(mailbox->event != NULL && event_add(mailbox->event, NULL) == 0);
    return mailbox;
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->mutex);
    bool was_empty = mailbox->first == NULL;
    if (was_empty)
        mailbox->first = mail;
    else
        mailbox->last->next = mail;
    mailbox->last = mail;
    pthread_mutex_unlock(&mailbox->mutex);
    uint64_t one = 1;
    while (was_empty && write(mailbox->descriptor, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    for (struct mail *mail = take_all(mailbox), *next; mail != NULL; mail = next) {
        next = mail->next;
        free(mail);
    }
    event_free(mailbox->event);
    close(mailbox->descriptor);
    pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox);
}
