#include "tests/drill/drill.h"
const struct drill drills_hub[] = {{.name = NULL}};
const struct drill drills_many[] = {{.name = NULL}};
const struct drill drills_chain[] = {{.name = NULL}};
