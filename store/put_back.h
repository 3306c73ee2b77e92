// Putting a displaced file back in its place, while the guest goes on renaming what is there.
//
// Our link stands where the displaced file belongs, under whatever name the guest has given it by now: what
// it did to the link it meant for its file. An O_PATH fd follows the link. Between our look and our exchange
// the guest may put something else under that name, which then comes out in the link's stead, and belongs
// where the displaced file has got to; and so on. So all that came out is followed, with what belongs where
// each of it is, and they are exchanged through tmp/ until everything is in its place and the link is what is
// left.
#pragma once

struct dir_id;
struct store;
struct variants;

enum put_back {
	PUT_BACK,     // the displaced file is in its place again, and the link gone
	PLACE_TAKEN,  // the guest has replaced or removed the link, or keeps moving it, or it cannot be
		      // reached: what is in @tmp has no place
};

// Puts what is in tmp/ under the name @tmp where @link is, an O_PATH fd by which that was opened in tmp/
// before the exchange, and removes the link. @dir and @name are where it was put: they lead to it where its
// path is too long to be told; @dir may be -1. The times of directories stay. An error leaves everything as
// it was.
int put_back(struct store *s, const char *tmp, int link, int dir, const char *name);

// The same; what has no place is kept (displaced_keep()), and PLACE_TAKEN means that.
int put_back_or_keep(struct store *s, const char *tmp, int link, int dir, const char *name);

// As put_back(), where @path of the pool, in the directory @in, is where it was put. Does the path lead to
// another directory now, it is another guest's perhaps, whose link is of the same inode.
int put_back_path(struct store *s, const char *tmp, int link, const char *path, struct dir_id in);

// As put_back_path(), where no link is known any more: it is what has that name now, if its inode is one of
// @links.
int put_back_found(struct store *s, const char *tmp, const char *path, struct dir_id in,
		   const struct variants *links);
