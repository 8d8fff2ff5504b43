package control

import (
	"context"
	"time"

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

// NewImage registers an image. Its id, if it has none, and time are made here.
func (c *Control) NewImage(ctx context.Context, caller Caller, image state.Image) (*state.Image, error) {
	if err := c.permit(caller, ask{}); err != nil {
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
	err := c.update(ctx, func(tx *state.Tx) error { return state.Save(tx, c.db.Images, image.ID, &image) })
	return &image, err
}

// ModifyImage changes an image. That it supports tokens alone cannot be taken
// back.
func (c *Control) ModifyImage(ctx context.Context, caller Caller, id string, change func(*state.Image) error) error {
	if _, err := c.Image(caller, id); err != nil {
		return err
	}
	a := ask{}
	a.on(arn(caller, "image", id), nil)
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
		supported := image.ImdsSupport
		if err := change(image); err != nil {
			return err
		}
		if supported && !image.ImdsSupport {
			return refuse(SupportIrreversible, id)
		}
		return state.Save(tx, c.db.Images, id, image)
	})
}
