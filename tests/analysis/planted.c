/* Never compiled: what `make check-analysis` must find, each in a way that only a look at paths or meaning shows. */
#include <stdlib.h>

struct thing {
    struct thing *next;
    int number;
};

int null_on_one_path(struct thing *thing, int which);
int null_on_one_path(struct thing *thing, int which)
{
    if (which > 3)
        thing = NULL;
    return which > 2 ? thing->number : 0;
}

int used_after_free(int number);
int used_after_free(int number)
{
    struct thing *thing = calloc(1, sizeof(*thing));
    if (thing == NULL)
        return 0;
    thing->number = number;
    if (number > 0)
        free(thing);
    return thing->number;
}

double half(int number);
double half(int number)
{
    return number / 2;
}
