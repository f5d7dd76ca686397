/* What wire/ can check in a vector file: frames and bodies byte for byte, and invoices both ways. */
#include "tests/vectors/vectors.h"

#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "tests/support/json_aid.h"
#include "wire/invoice.h"
#include "wire/message.h"

const char *const section_wire_keys[] = {"frames", "badFrames", "updates", "invoices", NULL};

/* Decodes a whole frame; CODE_MALFORMED for a wrong length, too, as on a link. */
static enum code frame_decode(struct decoder *decoder, const struct buffer *frame, struct message *out)
{
    const char *why;
    if (frame->length < 4 || load_be32(frame->data) > FRAME_BYTES_MAX)
        return CODE_MALFORMED;
    if (load_be32(frame->data) != frame->length - 4)
        return CODE_MALFORMED;
    return message_decode(decoder, frame->data + 4, frame->length - 4, out, &why);
}

/* The frame decodes, and what it says is written with the same bytes. */
static void check_frame(struct decoder *decoder, const char *name, const struct buffer *frame,
                        struct message *out)
{
    struct buffer again = {0};
    if (frame_decode(decoder, frame, out) != CODE_OK)
        fail_msg("%s does not decode", name);
    /* "CHANNEL (full)" is a CHANNEL. */
    size_t length = strcspn(name, " ");
    if (strlen(message_name(out->type)) != length || strncmp(message_name(out->type), name, length) != 0)
        fail_msg("%s decodes as %s", name, message_name(out->type));
    message_encode(&again, out);
    if (again.length != frame->length || memcmp(again.data, frame->data, frame->length) != 0)
        fail_msg("%s is written with other bytes", name);
    buffer_free(&again);
}

static void check_frames(const json_t *root, struct decoder *decoder)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "frames", &count);
    json_array_foreach(array, i, vector)
    {
        struct buffer frame = {0};
        struct message message;
        json_aid_buffer(vector, "frame", &frame);
        check_frame(decoder, json_aid_text(vector, "name"), &frame, &message);
        buffer_free(&frame);
    }
    vectors_checked("frames", count);
}

static void check_bad_frames(const json_t *root, struct decoder *decoder)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "badFrames", &count);
    json_array_foreach(array, i, vector)
    {
        struct buffer frame = {0};
        struct message message;
        json_aid_buffer_of(vector, &frame);
        assert_int_equal(frame_decode(decoder, &frame, &message), CODE_MALFORMED);
        buffer_free(&frame);
    }
    vectors_checked("badFrames", count);
}

static void check_body(struct decoder *decoder, const struct update *update)
{
    const struct operation *operations;
    size_t operation_count;
    struct buffer again = {0};
    assert_true(body_decode(decoder, update->body, update->body_length, &operations, &operation_count));
    body_encode(&again, operations, operation_count);
    assert_int_equal(again.length, update->body_length);
    assert_memory_equal(again.data, update->body, again.length);
    buffer_free(&again);
}

static void check_update(struct decoder *decoder, const json_t *vector)
{
    struct buffer frame = {0}, body = {0};
    struct message message;
    json_aid_buffer(vector, "frame", &frame);
    json_aid_buffer(vector, "body", &body);
    check_frame(decoder, "UPDATE", &frame, &message);

    const struct update *update = &message.update;
    const json_t *said = json_aid_get(vector, "message");
    struct hash channel = json_aid_hash(said, "channel"), root = json_aid_hash(said, "locksRoot");
    struct hash body_hash = json_aid_hash(said, "bodyHash");
    struct signature signature = json_aid_signature(vector, "signature");
    assert_true(hash_equal(&update->channel, &channel) && hash_equal(&update->proof.locks_root, &root));
    assert_true(hash_equal(&update->proof.body_hash, &body_hash));
    assert_true(signature_equal(&update->signature, &signature));
    assert_int_equal(update->proof.nonce, json_aid_u64(said, "nonce"));
    assert_int_equal(update->proof.transferred.units, json_aid_u64(said, "transferred"));
    assert_int_equal(update->proof.locked.units, json_aid_u64(said, "locked"));
    assert_int_equal(update->body_length, body.length);
    assert_memory_equal(update->body, body.data, body.length);
    check_body(decoder, update);
    buffer_free(&frame);
    buffer_free(&body);
}

static void check_updates(const json_t *root, struct decoder *decoder)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(json_aid_get(root, "updates"), "stream", &count);
    json_array_foreach(array, i, vector)
    {
        check_update(decoder, vector);
    }
    vectors_checked("updates: frames and bodies", count);
}

static struct invoice invoice_member(const json_t *vector)
{
    struct invoice invoice;
    memset(&invoice, 0, sizeof(invoice));
    invoice.chain_id = json_aid_u64(vector, "chainId");
    invoice.contract = json_aid_address(vector, "contract");
    invoice.payee = json_aid_address(vector, "payee");
    invoice.asset = json_aid_address(vector, "asset");
    invoice.amount = amount_of(json_aid_u64(vector, "amount"));
    invoice.secret_hash = json_aid_hash(vector, "secretHash");
    invoice.expiry = json_aid_u64(vector, "expiry");
    invoice.signature = json_aid_signature(vector, "signature");
    snprintf(invoice.endpoint, sizeof(invoice.endpoint), "%s", json_aid_text(vector, "endpoint"));
    snprintf(invoice.memo, sizeof(invoice.memo), "%s", json_aid_text(vector, "memo"));
    return invoice;
}

static void check_invoices(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "invoices", &count);
    json_array_foreach(array, i, vector)
    {
        const char *text = json_aid_text(vector, "text");
        struct invoice said = invoice_member(vector), got;
        char again[INVOICE_TEXT_MAX];
        assert_int_equal(invoice_decode(text, &got), INVOICE_OK);
        assert_memory_equal(&got, &said, sizeof(said));
        invoice_encode(&said, again);
        assert_string_equal(again, text);
    }
    vectors_checked("invoices: texts", count);
}

void section_wire(const json_t *root)
{
    struct decoder *decoder = decoder_new();
    check_frames(root, decoder);
    check_bad_frames(root, decoder);
    check_updates(root, decoder);
    check_invoices(root);
    decoder_free(decoder);
}
