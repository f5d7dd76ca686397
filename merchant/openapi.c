/* merchant/openapi.json, compiled in: GET /openapi.json. */
__asm__(".section .rodata\n"
        ".global merchant_openapi_json\n"
        "merchant_openapi_json:\n"
        ".incbin \"merchant/openapi.json\"\n"
        ".byte 0\n"
        ".previous\n");

/* ISO C wants a declaration in each file. */
extern const char merchant_openapi_json[];
