package control

import (
	"context"
	"time"

	"openimds/internal/policy"
	"openimds/internal/state"
)

// Image returns an image that the caller may launch from.
func (c *Control) Image(caller Caller, id string) (*state.Image, error) {
	image, ok := c.db.Images.Get(id)
	if !ok || image.Dialect != caller.Dialect {
		return nil, refuse(ImageNotFound, id)
	}
	return image, nil
}

// Images returns the images of the caller's cloud, by id.
func (c *Control) Images(caller Caller) ([]*state.Image, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	return c.db.Images.All(func(i *state.Image) bool { return i.Dialect == caller.Dialect }), nil
}

// NewImage registers an image, made of the instance that its Source names, if
// there is one. Its id, if it has none, and time are made here. A name that is
// given must be new in the account and region.
func (c *Control) NewImage(ctx context.Context, caller Caller, image state.Image) (*state.Image, error) {
	a := ask{}
	own := policy.Context{}
	requestTags(caller.Dialect, own, image.Tags)
	a.on(arn(caller, "image", "*"), own)
	if from, err := c.own(caller, image.Source); err == nil {
		a.on(arn(caller, "instance", image.Source), instanceKeys(caller.Dialect, from))
	}
	a.tagging(caller, "image", image.Tags)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	if err := checkTags(caller.Dialect, image.Tags); err != nil {
		return nil, err
	}
	if image.ID == "" {
		image.ID = "ami-" + c.hex(17)
		if caller.Dialect == "ecs" {
			image.ID = "m-bp1" + c.hex(17)
		}
	}
	image.Dialect, image.Region, image.Account = caller.Dialect, caller.Region, caller.Account
	image.Created = c.cfg.Now().UTC().Truncate(time.Second)
	err := c.update(ctx, func(tx *state.Tx) error {
		if err := c.imageNameIsFree(tx, caller, image.ID, image.Name); err != nil {
			return err
		}
		return state.Save(tx, c.db.Images, image.ID, &image)
	})
	return &image, err
}

// imageNameIsFree refuses the name of another image of the caller, within the
// change that gives it.
func (c *Control) imageNameIsFree(tx *state.Tx, caller Caller, id, name string) error {
	if name == "" {
		return nil
	}
	if err := c.serialize(tx, "images", caller.Dialect, caller.Account, caller.Region); err != nil {
		return err
	}
	others := c.db.Images.All(func(i *state.Image) bool {
		return i.Name == name && i.ID != id && i.Dialect == caller.Dialect && i.Account == caller.Account && i.Region == caller.Region
	})
	if len(others) > 0 {
		return &Error{Reason: ImageExists, Subject: name, Detail: others[0].ID}
	}
	return nil
}

// ModifyImage changes an image. That it supports tokens alone cannot be taken
// back.
func (c *Control) ModifyImage(ctx context.Context, caller Caller, id string, change func(*state.Image) error) error {
	known, err := c.Image(caller, id)
	if err != nil {
		return err
	}
	a := ask{}
	a.on(arn(caller, "image", id), imageKeys(caller, known))
	if err := c.permit(caller, a); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		image, ok, err := state.Load(tx, c.db.Images, id)
		if err != nil {
			return err
		}
		if !ok {
			return refuse(ImageNotFound, id)
		}
		supported, name := image.ImdsSupport, image.Name
		if err := change(image); err != nil {
			return err
		}
		if image.Name != name {
			if err := c.imageNameIsFree(tx, caller, id, image.Name); err != nil {
				return err
			}
		}
		if supported && !image.ImdsSupport {
			return refuse(SupportIrreversible, id)
		}
		return state.Save(tx, c.db.Images, id, image)
	})
}
