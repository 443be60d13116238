/* Linked into sanitized programs that load Open MPI: keeps its plug-ins loaded until the end, so
 * that the leak checker can name them and tests/lsan.supp can tell their leaks from ours. */
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
