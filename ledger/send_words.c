/* What nodes say to a broadcast. Geth's words are what most of them use; Nethermind answered with the names of its results
 * ("OldNonce") until it took them over too, others have some of their own. So only the letters of a message are looked at.
 */
#include <ctype.h>

#include "ledger/send_parts.h"

/* The part's letters, one after another, from here on? */
static bool letters_begin(const char *text, const char *part)
{
    for (; *part != '\0'; text++) {
        if (*text == '\0')
            return false;
        if (!isalpha((unsigned char)*text))
            continue;
        if (tolower((unsigned char)*text) != *part)
            return false;
        part++;
    }
    return true;
}

/* parts: small letters only; the list ends with NULL. */
static bool says_any(const json_t *error_object, const char *const *parts)
{
    const char *message = json_string_value(json_object_get(error_object, "message"));
    for (; message != NULL && *parts != NULL; parts++)
        for (const char *at = message; *at != '\0'; at++)
            if (letters_begin(at, *parts))
                return true;
    return false;
}

bool says_no_funds(const json_t *error_object)
{
    static const char *const parts[] = {"insufficientfunds", "insufficientbalance", "exceedsaccountbalance",
                                        "gasrequiredexceedsallowance", NULL};
    return says_any(error_object, parts);
}

bool says_known(const json_t *error_object)
{
    static const char *const parts[] = {"alreadyknown",  "alreadyimported",        "alreadyexists",
                                        "alreadyinpool", "existingtxwithsamehash", NULL};
    static const char *const known[] = {"knowntransaction", NULL}, *const unknown[] = {"unknown", NULL};
    return says_any(error_object, parts) ||
           (says_any(error_object, known) && !says_any(error_object, unknown));
}

bool says_underpriced(const json_t *error_object)
{
    static const char *const parts[] = {"underpriced",
                                        "basefee",
                                        "feetoolow",
                                        "feecapless",
                                        "gaspricebelow",
                                        "replacementnotallowed",
                                        "couldnotreplaceexisting",
                                        "gaspricetoreplace",
                                        NULL};
    return says_any(error_object, parts);
}

bool says_nonce_used(const json_t *error_object)
{
    static const char *const parts[] = {"noncetoolow", "nonceistoolow", "oldnonce", NULL};
    return says_any(error_object, parts);
}

bool says_nonce_gap(const json_t *error_object)
{
    static const char *const parts[] = {"noncetoohigh",  "nonceistoohigh",    "noncegap", "noncetoofar",
                                        "nonceistoofar", "nonceistoodistant", NULL};
    return says_any(error_object, parts);
}
