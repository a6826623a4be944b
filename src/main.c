/* The program's entry; everything else is in src/app. */
#include "weir/app/app.h"

int main(int argc, char **argv)
{
    return app_main(argc, argv);
}
